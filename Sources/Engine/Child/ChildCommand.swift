import Core
import Glibc

/// A program and its arguments, ready to be started: an absolute or relative path, no shell, no inherited variables.
struct ChildCommand: Sendable {
    var program: String
    var arguments: [String]
    var environment: [String: String]

    /// - Parameters:
    ///   - command: The program, by name or path, and its first arguments.
    ///   - environment: All that the child gets, besides a plain `PATH` and a UTF-8 locale.
    /// - Throws: ``RuntimeError`` `.configuration` when there is no such program.
    init(_ command: [String], environment: [String: String]) throws(RuntimeError) {
        guard let name = command.first, !name.isEmpty else {
            throw RuntimeError(.configuration, "the model's command is empty; name the engine's program")
        }
        guard let program = Self.find(name) else {
            let shown = Self.baseName(name)
            let advice = [shown] == LlamaProgram.server ? "install llama.cpp, which holds it" : "install it"
            throw RuntimeError(
                .configuration,
                "the engine's program \(shown) is not there or cannot be run; \(advice), or give its full path in the "
                    + "model's command")
        }
        self.program = program
        self.arguments = Array(command.dropFirst())
        self.environment = ["PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"]
        self.environment.merge(environment) { _, ours in ours }
    }

    func appending(_ more: [String]) -> ChildCommand {
        var command = self
        command.arguments += more
        return command
    }

    /// It works out its answers itself, so that where it takes no processor time it does not work: the built-in engine
    /// and llama.cpp's programs. Of others nothing is known; they may wait for a network.
    var computes: Bool { name.hasPrefix("llama-") || name == Self.baseName(Self.executable(of: "self") ?? "") }

    /// The file that a process (a number, or `self`) runs; nil where that may not be known.
    static func executable(of process: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/\(process)/exe", &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The last part of the program's path: what messages may show.
    var name: String { Self.baseName(program) }

    static func baseName(_ path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    /// A name with a slash is a path; any other is looked for in this process's `PATH`.
    static func find(_ name: String) -> String? {
        if name.contains("/") { return isProgram(name) ? name : nil }
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
        return path.split(separator: ":").lazy.map { "\($0)/\(name)" }.first(where: isProgram)
    }

    private static func isProgram(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
    }

    /// `setpriv` of util-linux, where it is installed: it asks the kernel to kill the child when we die. Subprocess
    /// 1.0.2 has no hook between fork and exec on Linux. (The kernel watches the thread that forked: Subprocess does
    /// it on one thread that lives as long as the process.) Without it the child still ends soon after us: its input
    /// ends, and its next write meets a closed pipe.
    private static let guardian: String? = find("setpriv")

    /// `nice` of coreutils: inference takes every core there is, and a daemon that then answers its peers late would be
    /// taken for dead (swarm.md §6). Children of the child inherit it.
    private static let scheduler: String? = find("nice")
    static let niceness = 5

    /// What is really executed.
    var guarded: (program: String, arguments: [String]) {
        var command = [program] + arguments
        if let guardian = Self.guardian {
            command = [guardian, "--pdeathsig", "KILL", "--no-new-privs", "--"] + command
        }
        if let scheduler = Self.scheduler { command = [scheduler, "-n", "\(Self.niceness)", "--"] + command }
        return (command[0], Array(command.dropFirst()))
    }
}
