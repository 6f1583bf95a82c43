import Core
import Cryptography
import Glibc
import Subprocess
import SystemPackage

/// One daemon of the demonstration.
struct DemoHost: Sendable {
    let name: String
    let port: Int
    let folder: String
    /// Its process; 0 before it runs.
    var process: Int32 = 0

    var client: DaemonClient { DaemonClient(host: "127.0.0.1", port: port) }

    func configure(model: String, pace: Int, beside hosts: [DemoHost]) throws {
        let seeds = hosts.filter { $0.port != port }.map { JSON.string("127.0.0.1:\($0.port)") }
        let settings: JSON = [
            "node": ["name": .string(name)],
            "server": ["host": "127.0.0.1", "port": .integer(Int64(port))],
            "models": [["name": .string(model), "engine": "builtin", "pace": .integer(Int64(pace))]],
            "mcp": ["mdns": false, "multicast": false, "seeds": .array(seeds)],
        ]
        try DemoFolder.write(settings.encoded, to: "\(folder)/config.json5")
    }

    /// Runs those hosts while `body` goes on, and ends them with it.
    static func running(
        _ hosts: [DemoHost], key: String, _ body: @escaping @Sendable ([DemoHost]) async throws -> Void
    ) async throws {
        let (started, start) = AsyncStream.makeStream(of: (Int, Int32).self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (number, host) in hosts.enumerated() {
                group.addTask { try await host.run(key) { start.yield((number, $0)) } }
            }
            var running = hosts
            var waiting = hosts.count
            for await (number, process) in started {
                running[number].process = process
                waiting -= 1
                if waiting == 0 { break }
            }
            for host in running { try await host.isReady() }
            try await body(running)
            group.cancelAll()
        }
    }

    private func run(_ key: String, started: @Sendable (Int32) -> Void) async throws {
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .milliseconds(200))
        ]
        let environment: [Subprocess.Environment.Key: String] = [
            "PATH": "/usr/bin:/bin", "HOME": folder, "MCP_ENCRYPTION_KEY": key, "XDG_STATE_HOME": "\(folder)/state",
            "XDG_CONFIG_HOME": "\(folder)/config", "XDG_RUNTIME_DIR": folder,
        ]
        let log = try FileDescriptor.open(
            FilePath("\(folder)/log"), .writeOnly, options: [.create, .append], permissions: .ownerReadWrite)
        _ = try await Subprocess.run(
            .path("/proc/self/exe"), arguments: ["--config", "\(folder)/config.json5"],
            environment: .custom(environment), workingDirectory: FilePath(folder), platformOptions: options,
            input: .none, output: .fileDescriptor(log, closeAfterSpawningProcess: false),
            error: .fileDescriptor(log, closeAfterSpawningProcess: true)
        ) { execution in
            started(execution.processIdentifier.value)
            // Until it is killed, or the demonstration is over.
            while Glibc.kill(execution.processIdentifier.value, 0) == 0 {
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    func kill() { _ = Glibc.kill(process, SIGKILL) }

    // MARK: What it says

    private func isReady() async throws {
        try await wait("it is not ready") {
            // Nobody listens at first.
            guard let reply = try? await client.send(.get, "/readyz") else { return false }
            return reply.isSuccess
        }
    }

    /// Waits until it sees so many hosts that live, itself included.
    func knows(_ count: Int) async throws {
        try await wait("it does not see the others") {
            let nodes = try await client.send(.get, "/v1/swarm/nodes").json()["nodes"]?.array ?? []
            return nodes.count { $0["state"]?.string == "alive" } >= count
        }
    }

    /// Who of them writes an answer at present.
    func writing(in hosts: [DemoHost]) async throws -> DemoHost {
        for _ in 0..<100 {
            for host in hosts {
                // One that was killed says nothing.
                guard let status = try? await host.client.send(.get, "/v1/status").json() else { continue }
                if status["models"]?.array?.contains(where: { ($0["running"]?.integer ?? 0) > 0 }) == true {
                    return host
                }
            }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw RuntimeError(.timedOut, "nobody was seen to write")
    }

    private func wait(_ trouble: String, until isSo: () async throws -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(20)
        while try await !isSo() {
            guard .now < end else {
                throw RuntimeError(.timedOut, "\(name): \(trouble) after 20 s; its log is at \(folder)/log")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}

/// Where the demonstration's hosts keep what they have; it goes with them.
struct DemoFolder {
    private static let names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]

    private let path: String
    /// The swarm's, for this time only.
    let key: String

    init() throws {
        var template = Array("\(Environment.variables["TMPDIR"] ?? "/tmp")/igris-demo.XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw RuntimeError(.system, "no folder can be made in $TMPDIR or /tmp: \(String(cString: strerror(errno)))")
        }
        path = String(cString: made)
        key = try SecureRandom.bytes(32).hex
    }

    func host(_ number: Int) throws -> DemoHost {
        let name = Self.names[number % Self.names.count]
        let folder = "\(path)/\(name)"
        guard mkdir(folder, 0o700) == 0 else { throw RuntimeError(.system, "the folder \(folder) cannot be made") }
        return DemoHost(name: name, port: try Self.freePort(), folder: folder)
    }

    func remove() async {
        _ = try? await Subprocess.run(
            .path("/bin/rm"), arguments: ["-rf", path], input: .none, output: .discarded, error: .discarded)
    }

    static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try FileDescriptor.open(
            FilePath(path), .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
        try file.closeAfter { _ = try file.writeAll(bytes) }
    }

    /// One that was free a moment ago.
    private static func freePort() throws -> Int {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(UInt32(0x7F00_0001).bigEndian)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, size) == 0 && getsockname(listener, pointer, &size) == 0
            }
        }
        guard isBound else { throw RuntimeError(.system, "no free port was found on 127.0.0.1") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}
