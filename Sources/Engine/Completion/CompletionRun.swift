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
        let beginning = program.beginning(of: request)
        let written = program.tokens(ofBeginning: beginning)
        let asked = program.prompt(of: request)
        let askedTokens = program.tokens(ofPrompt: asked)
        let prompt = asked + beginning
        let promptTokens = askedTokens.map { $0 + written }
        // Whoever began the answer would have ended it there.
        if written > 0, written >= request.maximumTokens || promptTokens ?? 0 > program.promptLimit {
            return .finished(
                reason: .length,
                usage: TokenUsage(
                    promptTokens: askedTokens ?? program.description.tokenCost.tokens(of: request.messages),
                    completionTokens: written, isExact: askedTokens != nil))
        }
        if let promptTokens, promptTokens > program.promptLimit {
            throw RuntimeError(
                .contextLengthExceeded,
                "the prompt has \(promptTokens) tokens; \(program.promptLimit) fit the context of "
                    + program.facts.fileName, parameter: "messages")
        }
        let command = program.command.appending(
            program.arguments(
                program.bounded(request, promptTokens: promptTokens, written: written), promptPath: pipe.path,
                marker: marker))
        let stderr = TailBuffer()

        let (reading, exit) = try await withChild(command, stderr: stderr, grace: bounds.grace) { process in
            defer { control.ended() }
            guard control.began(process, bounds: bounds) else { throw CancellationError() }
            return await withTaskGroup(of: Void.self) { group in
                // The program drops one newline at the end of its prompt.
                group.addTask { await pipe.feed(Array((prompt + "\n").utf8)) }
                group.addTask { await control.watch(every: bounds.tick, beat: bounds.beat) }
                let reading = await read(process, marker: marker)
                group.cancelAll()
                return reading
            }
        }
        if let failure = control.failure { throw failure }
        if control.isInterrupted { throw CancellationError() }
        return try conclude(
            reading, CompletionReport(exit: exit, log: stderr.text), promptTokens: askedTokens, written: written)
    }

    /// Reads until the process ends; what it writes after its answer is dropped.
    private func read(_ process: ChildProcess, marker: String) async -> Reading {
        var reading = Reading(
            output: CompletionOutput(
                marker: marker, stop: request.stop,
                skipsLeadingSpace: program.template.beginsWithSpace && request.partial == nil))
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

    private func conclude(
        _ reading: Reading, _ report: CompletionReport, promptTokens: Int?, written: Int
    ) throws -> GenerationEvent {
        var reading = reading
        if reading.output.end == nil {
            guard report.exit == .exited(0), report.hasFullContext else {
                let error = report.failure(
                    of: program.command.name, model: program.facts.fileName,
                    seemsTooLong: program.description.tokenCost.tokens(of: request.messages) > program.promptLimit)
                throw Incomplete(error: error, mayRetry: error.code == .engineFailed && !reading.hasDelivered)
            }
            mailbox.put(reading.output.finishWithoutMarker())
        }
        var usage = report.usage ?? estimate(reading.output, promptTokens: promptTokens)
        if written > 0 {
            // The program took the answer's beginning for a part of the prompt.
            usage.completionTokens += written
            // Of the one token that ends the turn the program counts two.
            if reading.output.answerBytes == 0 { usage.completionTokens = written + 1 }
            if report.usage != nil { usage.promptTokens = max(0, usage.promptTokens - written) }
        }
        usage.stop = reading.output.stop
        return .finished(reason: reading.output.end == .limit ? .length : .stop, usage: usage)
    }

    /// For programs that print no counts, and for those whose counts got lost: llama.cpp's log is written by a thread
    /// that may not have caught up when the program ends. Exact where each byte is a token.
    private func estimate(_ output: CompletionOutput, promptTokens: Int?) -> TokenUsage {
        let cost = program.description.tokenCost
        let written = Int((cost.perByte * Double(output.answerBytes)).rounded(.up)) + (output.end == .turn ? 1 : 0)
        return TokenUsage(
            promptTokens: promptTokens ?? cost.tokens(of: request.messages), completionTokens: written,
            isExact: promptTokens != nil && output.end != .stopString)
    }
}
