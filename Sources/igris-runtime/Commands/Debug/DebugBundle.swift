import Core
import Cryptography
import Glibc
import Settings
import Store
import Telemetry

/// What helps others to find out what is wrong here, and nothing that was said, and no secret.
///
/// Every part is made to hold none: pages of the daemon that never do, the settings with only such values as cannot be
/// one. Beyond that each is searched for the secrets that the settings and the environment hold.
struct DebugBundle {
    struct Part {
        var name: String
        /// For people, before it is written.
        var what: String
        var content: [UInt8]
    }

    /// For the slowest page, that of the doctor.
    private static let patience = Duration.seconds(12)

    private static let pages = [
        ("status.json", "/v1/status", "this host: models, sizes of the store, what is wrong"),
        ("swarm.json", "/v1/swarm/status", "the swarm as this host sees it"),
        ("hosts.json", "/v1/swarm/nodes", "its hosts: names, addresses, models, versions"),
        ("diagnostics.json", "/v1/mcp/diagnostics", "what the doctor finds"),
        ("metrics.txt", "/metrics", "all counts and times"),
        ("logs.json", "/v1/logs?limit=1000", "the latest events of the log"),
    ]

    /// Gathers all of it at once, within some ``patience``. What cannot be had is said in its place.
    static func gather(_ settings: Settings, _ client: DaemonClient, at seconds: UInt64) async -> [Part] {
        let fetched = await withTaskGroup(of: (Int, [UInt8]).self) { group in
            for (index, page) in pages.enumerated() {
                group.addTask { (index, await fetch(page.1, client)) }
            }
            var found: [Int: [UInt8]] = [:]
            for await (index, content) in group { found[index] = content }
            return found
        }
        var parts = [
            Part(name: "version.json", what: "the program and what it runs on", content: machine(settings, seconds)),
            Part(
                name: "settings.json", what: "which settings are set and by what; only values that can be no secret",
                content: values(settings)),
        ]
        for (index, page) in pages.enumerated() {
            parts.append(Part(name: page.0, what: page.2, content: fetched[index] ?? []))
        }
        let secrets = secrets(settings)
        for index in parts.indices { parts[index].content = Self.without(secrets, parts[index].content) }
        return parts
    }

    private static func fetch(_ path: String, _ client: DaemonClient) async -> [UInt8] {
        do {
            let reply = try await client.send(.get, path, patience: patience)
            guard reply.isSuccess else { return Array("the daemon answered with status \(reply.status)\n".utf8) }
            return reply.body
        } catch {
            return Array("not to be had: \((error as? RuntimeError)?.message ?? "the connection broke off")\n".utf8)
        }
    }

    // MARK: - Settings

    /// Texts that say how, not who or what.
    private static let plain: Set<String> = [
        "engine", "protocol", "template", "load", "durability", "algorithm", "lan", "level", "format",
        "default_conversation", "retention", "max_bytes", "patience", "window", "keep_alive", "wait", "idle",
        "models_memory", "capabilities", "zone", "rate_limit",
    ]

    private static func values(_ settings: Settings) -> [UInt8] {
        let values: [JSON] = settings.effective.map { value in
            let name = value.key.split(separator: ".").last.map { $0.prefix { $0 != "[" } } ?? ""
            return [
                "key": .string(value.key), "value": shown(value.shown, isPlain: plain.contains(String(name))),
                "source": .string(source(value.source)),
            ]
        }
        let notices: [JSON] = [.integer(Int64(settings.notices.count))]
        return Array((["settings": .array(values), "notices": .array(notices)] as JSON).text.utf8)
    }

    private static func shown(_ value: JSON, isPlain: Bool) -> JSON {
        switch value {
        case .string(let text): isPlain ? value : .string("<\(text.utf8.count) bytes>")
        case .array(let items): isPlain ? value : .string("<\(items.count) items>")
        case .object(let object): .string("<\(object.members.count) members>")
        default: value
        }
    }

    /// Without the file's path.
    private static func source(_ source: ValueSource) -> String {
        if case .file(_, let position) = source { return "file, \(position)" }
        return "\(source)"
    }

    // MARK: - Machine

    private static func machine(_ settings: Settings, _ seconds: UInt64) -> [UInt8] {
        var names = utsname()
        uname(&names)
        let place = settings.mcp.storagePath.lastIndex(of: "/").map { settings.mcp.storagePath[...$0] } ?? "."
        let resources = MachineResources.current(diskOf: String(place))
        var object = JSON.Object()
        object["igris_runtime"] = .string(IgrisRuntime.version)
        object["made"] = .string(Timestamp(since1970: seconds &* 1_000).description)
        object["kernel"] = .string(text(of: names.release))
        object["architecture"] = .string(text(of: names.machine))
        object["system"] = .string(
            ProcessMetrics.text(of: "/etc/os-release")?.split(separator: "\n").first { $0.hasPrefix("PRETTY_NAME=") }
                .map { String($0.dropFirst("PRETTY_NAME=".count).filter { $0 != "\"" }) } ?? "")
        object["c_library"] = .string(cLibrary)
        object["openssl"] = .string(CryptographyLibrary.version)
        object["sqlite"] = .string(StoreLibrary.version)
        object["processors"] = .integer(Int64(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        object["memory_bytes"] = resources.memorySize.map { .integer(Int64(clamping: $0)) } ?? .null
        object["memory_free_bytes"] = resources.memoryFree.map { .integer(Int64(clamping: $0)) } ?? .null
        object["disk_bytes"] = resources.diskSize.map { .integer(Int64(clamping: $0)) } ?? .null
        object["disk_free_bytes"] = resources.diskFree.map { .integer(Int64(clamping: $0)) } ?? .null
        object["load_average"] = .string(
            ProcessMetrics.text(of: "/proc/loadavg")?.split(separator: " ").prefix(3).joined(separator: " ") ?? "")
        return Array(JSON.object(object).text.utf8)
    }

    private static var cLibrary: String {
        var text = [UInt8](repeating: 0, count: 64)
        let count = text.withUnsafeMutableBytes {
            confstr(Int32(_CS_GNU_LIBC_VERSION), $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
        }
        return String(decoding: text.prefix(min(count, text.count)).prefix { $0 != 0 }, as: UTF8.self)
    }

    private static func text<Field>(of field: Field) -> String {
        withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    // MARK: - Secrets

    private static func secrets(_ settings: Settings) -> [[UInt8]] {
        var texts = settings.auth.keys.map { $0.key.reveal() } + settings.models.compactMap { $0.apiKey?.reveal() }
        if let key = settings.mcp.encryptionKey { texts.append(key.reveal()) }
        for (name, value) in Environment.variables
        where ["KEY", "SECRET", "TOKEN", "PASSWORD", "PASSPHRASE"].contains(where: { name.uppercased().contains($0) }) {
            texts.append(value)
        }
        return texts.map { Array($0.utf8) }.filter { $0.count >= 6 }
    }

    /// `content` with each of `secrets` blotted out.
    static func without(_ secrets: [[UInt8]], _ content: [UInt8]) -> [UInt8] {
        var content = content
        for secret in secrets {
            guard let first = secret.first else { continue }
            var index = 0
            while let hit = content[index...].firstIndex(of: first), hit + secret.count <= content.count {
                index = hit + 1
                guard content[hit..<hit + secret.count].elementsEqual(secret) else { continue }
                for place in hit..<hit + secret.count { content[place] = UInt8(ascii: "*") }
            }
        }
        return content
    }
}
