import Core
import Glibc
import Subprocess
import SystemPackage

/// A running child: what a body given to ``withChild(_:stderr:body:)`` may do with it. Valid only within that body.
struct ChildProcess: Sendable {
    private let execution: Execution<CustomWriteInput, SequenceOutput, SequenceOutput>
    private let command: ChildCommand

    fileprivate init(
        _ execution: Execution<CustomWriteInput, SequenceOutput, SequenceOutput>, _ command: ChildCommand
    ) {
        self.execution = execution
        self.command = command
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
    var isStopped: Bool { status?.isStopped ?? false }

    /// The processor time that it has taken, in the kernel's ticks of 10 ms; nil where none taken would not mean that it
    /// does nothing: while it waits for a disk, and where another program stands for the one that computes (a script, a
    /// container's client). One that was stopped does nothing, whatever it is.
    var ticks: Int? {
        guard let status else { return nil }
        if status.isStopped { return status.ticks }
        guard !status.waitsForDisk, command.computes,
            let running = ChildCommand.executable(of: "\(id)").map(ChildCommand.baseName), running == command.name
        else { return nil }
        return status.ticks
    }

    private var status: ProcessStatus? {
        let descriptor = open("/proc/\(id)/stat", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 1_024)
        let count = read(descriptor, &buffer, buffer.count)
        return count > 0 ? ProcessStatus(stat: String(decoding: buffer[..<count], as: UTF8.self)) : nil
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
            let child = ChildProcess(execution, command)
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
