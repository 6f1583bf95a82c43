import Core
import Glibc
import Subprocess
import SystemPackage

/// A running child: what a body given to ``withChild(_:stderr:body:)`` may do with it. Valid only within that body.
struct ChildProcess: Sendable {
    private let execution: Execution<CustomWriteInput, SequenceOutput, SequenceOutput>

    fileprivate init(_ execution: Execution<CustomWriteInput, SequenceOutput, SequenceOutput>) {
        self.execution = execution
    }

    /// The number of its session, too.
    var id: Int32 { execution.processIdentifier.value }

    /// Writes all of it; waits while the pipe is full. Throws when the child no longer reads.
    func write(_ bytes: [UInt8]) async throws {
        let written = try await execution.standardInputWriter.write(bytes)
        guard written == bytes.count else {
            throw RuntimeError(.engineFailed, "the engine ended while it was being written to")
        }
    }

    func closeInput() async {
        // Closing twice, or after the child's end, is no failure.
        try? await execution.standardInputWriter.finish()
    }

    /// To the child and everything it has started.
    func signal(_ signal: ChildSignal) {
        // The child may have ended by itself meanwhile.
        try? execution.send(signal: signal == .kill ? .kill : .interrupt, toProcessGroup: true)
    }

    /// Somebody has stopped it (`SIGSTOP`, a debugger): it is there and does nothing.
    var isStopped: Bool {
        let descriptor = open("/proc/\(execution.processIdentifier.value)/stat", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 512)
        let count = read(descriptor, &buffer, buffer.count)
        // `PID (NAME) STATE …`, and the name may hold anything.
        guard count > 0, let end = buffer[..<count].lastIndex(of: UInt8(ascii: ")")), end + 2 < count else {
            return false
        }
        return [UInt8(ascii: "T"), UInt8(ascii: "t")].contains(buffer[end + 2])
    }

    /// Calls `body` with each piece of the child's standard output until it ends. To be called once.
    func readOutput(_ body: (_ bytes: [UInt8]) async throws -> Void) async throws {
        for try await buffer in execution.standardOutput {
            try await body(buffer.withUnsafeBytes { Array($0) })
        }
    }

    fileprivate func drainErrors(into tail: TailBuffer) async {
        do {
            for try await buffer in execution.standardError { tail.append(buffer.withUnsafeBytes { Array($0) }) }
        } catch {
            // The stream ends with the child: what was read by then is the tail.
        }
    }
}

/// What must hold in this process before its first child starts.
private let prepareProcess: Void = {
    // Writing to a child that has just ended must be an error, not our death.
    _ = Glibc.signal(SIGPIPE, SIG_IGN)
    // A core file would hold the model's context in clear; children inherit the limit, of which they can raise nothing.
    var limit = rlimit()
    let coreSize = __rlimit_resource_t(RLIMIT_CORE.rawValue)
    if getrlimit(coreSize, &limit) == 0 {
        limit.rlim_cur = 0
        limit.rlim_max = 0
        _ = setrlimit(coreSize, &limit)
    }
}()

/// Starts a child in its own session, with pipes on its three streams and no other descriptor, and runs `body` beside
/// it; standard error is drained into `stderr` all the while. When the body returns, the child's input is closed; it
/// and everything it has started are killed if it does not end within `grace`. When the body throws, or the task is
/// cancelled, they are killed at once.
///
/// - Throws: ``RuntimeError`` `.unavailable` when it cannot be started; what the body throws.
func withChild<Result: Sendable>(
    _ command: ChildCommand, stderr: TailBuffer, grace: Duration = Limits.engineGrace,
    body: @escaping @Sendable (ChildProcess) async throws -> Result
) async throws -> (result: Result, exit: ChildExit) {
    prepareProcess
    var options = PlatformOptions()
    options.createSession = true
    options.teardownSequence = [
        .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .milliseconds(200))
    ]
    var environment: [Environment.Key: String] = [:]
    for (name, value) in command.environment { environment[Environment.Key(stringLiteral: name)] = value }
    let guarded = command.guarded

    do {
        failpoint("engine.spawn.before")
        let outcome = try await run(
            .path(FilePath(guarded.program)), arguments: Arguments(guarded.arguments),
            environment: .custom(environment), platformOptions: options, input: .inputWriter, output: .sequence,
            error: .sequence
        ) { execution in
            failpoint("engine.spawn.after")
            let child = ChildProcess(execution)
            return try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await child.drainErrors(into: stderr) }
                let result = try await body(child)
                await child.closeInput()
                // The first step is a signal that does nothing to a running process: it only gives the time.
                await execution.teardown(using: [
                    .send(signal: .resume, toProcessGroup: true, allowedDurationToNextStep: grace)
                ])
                try await group.waitForAll()
                return result
            }
        }
        failpoint("engine.exit")
        switch outcome.terminationStatus {
        case .exited(let status): return (outcome.closureResult, .exited(Int(status)))
        case .signaled(let signal): return (outcome.closureResult, .signalled(Int(signal)))
        }
    } catch let error as SubprocessError {
        throw RuntimeError(.unavailable, "the engine's program \(command.name) could not be run", cause: error)
    }
}
