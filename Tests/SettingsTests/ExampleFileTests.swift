import Core
import Glibc
import Testing

@testable import Settings

@Suite struct ExampleFileTests {
    /// The block of the requirement document, verbatim.
    private static let seedBlock = """
        {
        mcp: {
        enabled: true,
        mdns: true, // Auto-discovery via mDNS
        multicast: true, // UDP fallback for restricted networks
        persist: true, // Store context encrypted on disk
        storage_path: "mcp_contexts.db",
        encryption_key: "${MCP_ENCRYPTION_KEY}" // Optional custom key
        }
        }
        """

    @Test("The example file loads, and means what no file means")
    func loads() throws {
        let example = try read(try repositoryFile("config.example.json5"))
        let none = try read("{}")
        #expect(example.effective.map(\.key) == none.effective.map(\.key))
        #expect(example.effective.map(\.shown) == none.effective.map(\.shown))
        #expect(
            example.notices == [
                "config.json5:\(try position(of: "\"${MCP_ENCRYPTION_KEY}\"")): mcp.encryption_key is left out: "
                    + "the environment variable MCP_ENCRYPTION_KEY is not set"
            ])
    }

    @Test("The example file names every key")
    func namesEveryKey() throws {
        let text = try repositoryFile("config.example.json5")
        for key in Settings.keys {
            #expect(text.contains("\(key.lastName): "), "\(key.name) is missing")
        }
    }

    @Test("What the example file shows in comments loads too")
    func comments() throws {
        var text = try repositoryFile("config.example.json5")
        // Commented examples are comments that begin with a brace, a key or a quote.
        text = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            guard let slashes = line.firstRange(of: "// "), line[..<slashes.lowerBound].allSatisfy({ $0 == " " }) else {
                return String(line)
            }
            let rest = line[slashes.upperBound...].drop { $0 == " " }
            let isExample = [
                "{", "}", "\"", "name:", "engine:", "protocol:", "command:", "path:", "context:", "template:",
                "threads:", "pace:", "slots:", "embeddings:", "url:", "api_key:", "ca_file:", "remote_model:",
                "capabilities:", "enabled:", "cert:", "key:", "client_ca:",
            ]
            .contains { rest.hasPrefix($0) }
            return isExample ? String(rest) : String(line)
        }
        .joined(separator: "\n")
        let settings = try read(text, environment: ["LAPTOP_KEY": "a-key-of-a-laptop", "OFFICE_KEY": "k"])
        #expect(settings.models.map(\.name) == ["igris-recall", "qwen3-4b", "qwen3-8b", "office", "mine"])
        #expect(settings.models.first?.pace == 30)
        #expect(settings.auth.keys.map(\.name) == [nil, "laptop"])
        #expect(settings.node.name == "kitchen")
        #expect(settings.auth.agents.map(\.name) == ["robot"])
        #expect(settings.tls.isEnabled && settings.tls.clients.map(\.name) == ["ann", "robot"])
    }

    @Test("The block of the requirements loads as it stands", arguments: [nil, "a shared key"])
    func seed(key: String?) throws {
        let settings = try read(Self.seedBlock, environment: key.map { ["MCP_ENCRYPTION_KEY": $0] } ?? [:])
        #expect(settings.mcp.enabled && settings.mcp.mdns && settings.mcp.multicast && settings.mcp.persist)
        #expect(settings.mcp.storagePath == "/etc/igris/mcp_contexts.db")
        #expect(settings.mcp.encryptionKey?.reveal() == key)
        #expect(settings.notices.contains { $0.contains("mcp.encryption_key is left out") } == (key == nil))
    }

    @Test("The reference in docs/configuration.md is current")
    func reference() throws {
        let reference = Settings.reference()
        // To renew it: WRITE_REFERENCE=1 swift test --filter SettingsTests
        if getenv("WRITE_REFERENCE") != nil { try writeRepositoryFile("docs/configuration.md", reference) }
        #expect(try repositoryFile("docs/configuration.md") == reference)
    }

    @Test("Every default of a list is JSON5, and every key has its words")
    func schema() {
        #expect(Settings.keys.count > 30)
        for key in Settings.keys {
            #expect(!key.summary.isEmpty && key.summary.hasSuffix("."))
            #expect(!key.words.isEmpty)
        }
        #expect(Set(Settings.keys.map(\.name)).count == Settings.keys.count)
    }

    private func position(of text: String) throws -> Position {
        let lines = try repositoryFile("config.example.json5").split(separator: "\n", omittingEmptySubsequences: false)
        let line = try #require(lines.firstIndex { $0.contains(text) })
        let column = try #require(lines[line].firstRange(of: text))
        return Position(
            line: line + 1, column: lines[line].distance(from: lines[line].startIndex, to: column.lowerBound) + 1)
    }
}
