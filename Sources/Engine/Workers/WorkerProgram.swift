package import Core
import Glibc
package import Logging

/// llama.cpp's RPC server as a child of this daemon: it computes for a llama-server on another host, which reaches it
/// through a tunnel alone. It listens on loopback, for it knows neither keys nor UNIX sockets.
package actor WorkerProgram {
    /// The program's names, the present one first (engines.md §1.1).
    private static let names = ["ggml-rpc-server", "rpc-server"]
    private static let required = ["-H", "-p"]

    private let command: [String]
    private let threads: Int?
    private let log: Logger
    private var probed: (command: ChildCommand, build: String)?

    /// - Parameters:
    ///   - command: Program and arguments; empty to look in this process's `PATH`.
    ///   - threads: Nil for all cores but one.
    package init(command: [String], threads: Int?, log: Logger) {
        self.command = command
        self.threads = threads
        self.log = log
    }

    package nonisolated var lent: LentWorker {
        LentWorker(build: { try await self.probe().build }, run: { try await self.run($0) })
    }

    /// Asked once; a program that is exchanged for another one is seen at the daemon's next start.
    private func probe() async throws -> (command: ChildCommand, build: String) {
        if let probed { return probed }
        let command = try ChildCommand(found, environment: [:])
        let probe = try await ProgramProbe(
            command, required: Self.required, of: "llama.cpp's ggml-rpc-server", deadline: Limits.tunnelAnswer)
        var build = probe.build
        // Up to now it says nothing of its build; the llama-server beside it is of the same.
        if build == ProgramProbe.unknownBuild { build = try await Self.build(beside: command) }
        probed = (command.appending(arguments(probe.flags)), build)
        return try await self.probe()
    }

    private var found: [String] {
        guard command.isEmpty else { return command }
        return [Self.names.first { ChildCommand.find($0) != nil } ?? Self.names[0]]
    }

    private static func build(beside command: ChildCommand) async throws -> String {
        let folder = command.program.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let server = folder.joined(separator: "/") + "/llama-server"
        guard ChildCommand.find(server) != nil else {
            throw RuntimeError(
                .configuration,
                "the build of its \(command.name) cannot be told: there is no llama-server beside it to ask")
        }
        let probe = try await ProgramProbe(
            try ChildCommand([server], environment: [:]), required: [], of: "llama.cpp's llama-server",
            deadline: Limits.tunnelAnswer)
        guard probe.build != ProgramProbe.unknownBuild else {
            throw RuntimeError(.configuration, "the llama-server beside its \(command.name) does not tell its build")
        }
        return probe.build
    }

    private func arguments(_ flags: Set<String>) -> [String] {
        guard flags.contains("-t"), Set(command).isDisjoint(with: ["-t", "--threads"]) else { return [] }
        return ["-t", "\(threads ?? max(1, Processors.physicalCores - 1))"]
    }

    private func run(_ use: @escaping @Sendable (Int) async -> Void) async throws -> String? {
        let program = try await probe().command
        let port = try Self.freePort()
        let command = program.appending(["-H", "127.0.0.1", "-p", "\(port)"])
        let outcome = try await withChild(command, stderr: TailBuffer()) { child in
            await child.closeInput()
            return await withTaskGroup(of: End.self) { group in
                group.addTask {
                    // It must be able to write; its end is the end of what it writes.
                    try? await child.readOutput { _ in }
                    return .exited
                }
                group.addTask {
                    guard await Self.listens(at: port) else { return .deaf }
                    await use(port)
                    return .used
                }
                group.addTask { await Self.stops(child) }
                let end = await group.next() ?? .exited
                child.signal(.kill)
                group.cancelAll()
                return end
            }
        }
        let reason: String
        switch outcome.result {
        case .used: return nil
        case .exited: reason = outcome.exit.description
        case .deaf: reason = "it did not listen within \(Limits.workerStart.components.seconds) s"
        case .stopped: reason = "it was stopped by a signal"
        }
        log.warning("the worker ended", metadata: ["reason": "\(reason)"])
        return reason
    }

    private enum End {
        case used
        case exited
        case deaf
        case stopped
    }

    /// Its connections stay open, and whoever waits for an answer on them would wait for ever.
    private static func stops(_ child: ChildProcess) async -> End {
        var count = 0
        while count < 3, !Task.isCancelled {
            count = child.isStopped ? count + 1 : 0
            try? await Task.sleep(for: Limits.tunnelBeat)  // cancelled with the program
        }
        return .stopped
    }

    /// One that the system has just given out: it gives the same out again late.
    private static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = loopback(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
            }
        }
        guard descriptor >= 0, status == 0 else {
            throw RuntimeError(.system, "it has no free port for its worker")
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// Knocks until it is opened: a connection that asks nothing does the program no harm.
    private static func listens(at port: Int) async -> Bool {
        let deadline = ContinuousClock.now + Limits.workerStart
        while ContinuousClock.now < deadline, !Task.isCancelled {
            if isOpen(port) { return true }
            try? await Task.sleep(for: .milliseconds(20))  // cancelled when the program ends
        }
        return false
    }

    private static func isOpen(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = loopback(port: UInt16(clamping: port))
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}
