import Core

/// One answer by `llama-completion`: a process, its prompt, its output (engines.md §5.2).
struct CompletionRun: Sendable {
    let program: CompletionProgram
    let request: GenerationRequest
    let mailbox: AnswerMailbox
    let control: RunControl
    let bounds: EngineBounds

    private struct Reading: Sendable {
        var output: CompletionOutput
        var hasDelivered = false
    }

    /// Puts the answer into the mailbox. A program that ends before its first byte for no reason of the request's
    /// is run once more.
    ///
    /// - Throws: ``RuntimeError``; `CancellationError` when the run was interrupted.
    func answer() async throws -> GenerationEvent {
        do {
            return try await attempt()
        } catch let failure as Incomplete {
            guard failure.mayRetry else { throw failure.error }
        }
        do {
            return try await attempt()
        } catch let failure as Incomplete {
            throw failure.error
        }
    }

    private struct Incomplete: Error {
        var error: RuntimeError
        var mayRetry: Bool
    }

    private func attempt() async throws -> GenerationEvent {
        if control.isInterrupted { throw CancellationError() }
        let pipe = try PromptPipe()
        defer { pipe.remove() }
        // A word that no model writes by chance: it ends the answer.
        let marker = "\u{1E}\(String(UInt64.random(in: .min ... .max), radix: 36))\u{1E}"
        let command = program.command.appending(
            program.arguments(program.bounded(request), promptPath: pipe.path, marker: marker))
        // The program drops one newline at the end of its prompt.
        let prompt = Array((program.prompt(of: request) + "\n").utf8)
        let stderr = TailBuffer()

        let (reading, exit) = try await withChild(command, stderr: stderr, grace: bounds.grace) { process in
            defer { control.ended() }
            guard control.began(process, bounds: bounds) else { throw CancellationError() }
            return await withTaskGroup(of: Void.self) { group in
                group.addTask { await pipe.feed(prompt) }
                group.addTask { await control.watch(every: bounds.tick) }
                let reading = await read(process, marker: marker)
                group.cancelAll()
                return reading
            }
        }
        if let failure = control.failure { throw failure }
        if control.isInterrupted { throw CancellationError() }
        return try conclude(reading, CompletionReport(exit: exit, log: stderr.text))
    }

    /// Reads until the process ends; what it writes after its answer is dropped.
    private func read(_ process: ChildProcess, marker: String) async -> Reading {
        var reading = Reading(
            output: CompletionOutput(
                marker: marker, stop: request.stop, skipsLeadingSpace: program.template.beginsWithSpace))
        var total = 0
        do {
            try await process.readOutput { bytes in
                control.heard()
                total += bytes.count
                if total > bounds.outputBytes {
                    control.fail(
                        RuntimeError(.engineFailed, "the answer grew past \(bounds.outputBytes) bytes and was stopped"))
                }
                guard reading.output.end == nil, !control.isInterrupted else { return await process.closeInput() }
                await deliver(reading.output.append(bytes), &reading)
                guard let end = reading.output.end else { return }
                control.ending()
                // A program that waits for more input ends when there is none; one that still writes is told to stop.
                if end == .stopString { process.signal(.interrupt) }
                await process.closeInput()
            }
        } catch {
            // The child's end tells the rest.
        }
        return reading
    }

    private func deliver(_ text: String, _ reading: inout Reading) async {
        guard !text.isEmpty else { return }
        reading.hasDelivered = true
        guard mailbox.put(text) > bounds.unreadBytes else { return }
        control.blocked()
        await mailbox.waitForRoom()
        control.unblocked()
    }

    private func conclude(_ reading: Reading, _ report: CompletionReport) throws -> GenerationEvent {
        var reading = reading
        if reading.output.end == nil {
            guard report.exit == .exited(0), report.hasFullContext else {
                let error = report.failure(of: program.command.name, model: program.facts.fileName)
                throw Incomplete(error: error, mayRetry: error.code == .engineFailed && !reading.hasDelivered)
            }
            mailbox.put(reading.output.finishWithoutMarker())
        }
        let endedTurn = reading.output.end == .turn
        let cost = program.description.tokenCost
        let estimate = TokenUsage(
            promptTokens: cost.tokens(of: request.messages),
            completionTokens: Int((cost.perByte * Double(reading.output.answerBytes)).rounded(.up))
                + (endedTurn ? 1 : 0),
            isExact: false)
        return .finished(
            reason: reading.output.end == .limit ? .length : .stop, usage: report.usage ?? estimate)
    }
}
