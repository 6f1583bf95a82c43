internal import Core

/// A program of the operator's that is told something by its arguments: no shell, nothing on its input, bounded in time.
package enum HookProgram {
    private static let deadline = Duration.seconds(30)

    /// Throws ``RuntimeError`` when it cannot be run, takes too long (it is killed then), or says that it failed.
    package static func run(_ command: [String]) async throws {
        let child = try ChildCommand(command, environment: [:])
        let errors = TailBuffer(limit: Limits.engineStderrTailBytes)
        try await withDeadline(deadline, "\(child.name) did not end within \(deadline)") {
            let (_, exit) = try await withChild(child, stderr: errors, grace: deadline) { process in
                await process.closeInput()
                try await process.readOutput { _ in }
            }
            guard exit == .exited(0) else {
                throw RuntimeError(.system, "\(child.name) failed: \(exit)")
            }
        }
    }
}
