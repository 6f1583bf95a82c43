import Core
import Testing

@testable import Settings

@Suite struct ReferenceExpansionTests {
    private let surroundings = Surroundings(
        environment: ["A": "1", "EMPTY": "", "HOME": "/home/ada", "B_2": "${A}"], folder: "/etc/igris")

    @Test(
        "References are replaced once, and only where they are references",
        arguments: [
            ("", ""), ("plain", "plain"), ("${A}", "1"), ("x${A}y${A}z", "x1y1z"), ("${A:-no}", "1"),
            ("${N:-yes}", "yes"),
            ("${N:-}", ""), ("${EMPTY:-yes}", "yes"), ("${N:-a:-b}", "a:-b"), ("${B_2}", "${A}"), ("$A", "$A"),
            ("$", "$"),
            ("5 $", "5 $"), ("$${A}", "${A}"), ("$$${A}", "$${A}"), ("$$$", "$$$"), ("{A}", "{A}"),
        ])
    func expansion(text: String, expected: String) throws {
        #expect(try surroundings.expand(text) == expected)
    }

    @Test("All unset variables of a text are named")
    func unset() {
        #expect(throws: ExpansionError.unset(["N", "EMPTY"])) { try surroundings.expand("${N}${A}${EMPTY}") }
    }

    @Test(
        "What only looks like a reference is refused",
        arguments: ["${", "${A", "${}", "${1A}", "${A B}", "${A:b}", "${A-b}", "${:-b}", "${é}"])
    func malformed(text: String) {
        let error = #expect(throws: ExpansionError.self) { try surroundings.expand(text) }
        guard case .malformed = error else {
            Issue.record("\(text) gave \(String(describing: error))")
            return
        }
    }

    @Test("References cannot make a text grow without bound")
    func bounded() {
        let large = Surroundings(environment: ["L": String(repeating: "x", count: 100_000)], folder: "/")
        #expect(throws: ExpansionError.self) { try large.expand(String(repeating: "${L}", count: 50_000)) }
    }

    @Test("A key whose variable is unset is left out, and a notice says so")
    func absent() throws {
        let settings = try read("{mcp: {\n  encryption_key: '${KEY}', storage_path: '${DIR}/${DB}.db'}}")
        #expect(settings.mcp.encryptionKey == nil)
        #expect(settings.mcp.storagePath == "/etc/igris/mcp_contexts.db")
        #expect(
            settings.notices == [
                "config.json5:2:43: mcp.storage_path is left out: the environment variables DIR, DB are not set",
                "config.json5:2:19: mcp.encryption_key is left out: the environment variable KEY is not set",
            ])
    }

    @Test("An item of a list whose variable is unset is left out alone")
    func absentItem() throws {
        let settings = try read("{server: {allowed_hosts: ['a', '${B}', '${C:-c}']}}")
        #expect(settings.server.allowedHosts == ["a", "c"])
        #expect(
            settings.notices == [
                "config.json5:1:32: server.allowed_hosts[1] is left out: the environment variable B is not set"
            ])
    }

    @Test(
        "A path begins at the file's folder, at the home folder, or at the root",
        arguments: [
            ("a.db", "/etc/igris/a.db"), ("./a.db", "/etc/igris/a.db"), ("../a.db", "/etc/igris/../a.db"),
            ("/var/a.db", "/var/a.db"), ("~/a.db", "/home/ada/a.db"), ("~", "/home/ada"),
        ])
    func paths(text: String, expected: String) throws {
        #expect(surroundings.resolve(text) == expected)
        let settings = try read("{mcp: {storage_path: '\(text)'}}", environment: ["HOME": "/home/ada"])
        #expect(settings.mcp.storagePath == expected)
    }

    @Test("Without a file relative paths begin at the working directory")
    func withoutFile() throws {
        let settings = try Settings.load(environment: [:], workingDirectory: "/srv")
        #expect(settings.mcp.storagePath == "/srv/mcp_contexts.db")
        #expect(surroundings.folder(ofFile: "b/config.json5") == "/etc/igris/b")
        #expect(surroundings.folder(ofFile: "/config.json5") == "/")
    }
}
