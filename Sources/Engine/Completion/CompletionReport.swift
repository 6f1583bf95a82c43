import Core

/// What a run's exit and the end of its standard error tell.
struct CompletionReport: Sendable {
    var exit: ChildExit
    /// The end of standard error; for decisions only, never shown.
    var log: String

    /// The error that a run without a complete answer amounts to. `seemsTooLong` is our estimate of the prompt: the
    /// program's own word on it gets lost at times, for its log is written by a thread that may not have caught up
    /// when the program ends.
    func failure(of name: String, model: String, seemsTooLong: Bool = false) -> RuntimeError {
        let hasSaidWhy = log.contains("error") || log.contains("failed")
        if log.contains("prompt is too long") || (exit == .exited(1) && seemsTooLong && !hasSaidWhy) {
            return RuntimeError(
                .contextLengthExceeded, "the messages are longer than the context of \(model)", parameter: "messages")
        }
        let isUnloadable = [
            "failed to load model", "failed to open GGUF", "error loading model", "unable to load model",
            "failed to create context",
        ].contains(where: log.contains)
        if isUnloadable {
            return RuntimeError(
                .unavailable,
                "\(name) could not load the model file of \(model); check its path and that this build of the program "
                    + "supports it")
        }
        if let flag = log.firstMatch(after: "invalid argument: ") {
            return RuntimeError(.configuration, "\(name) does not know its argument \(flag); check the model's command")
        }
        switch exit {
        case .exited(130), .signalled(2): return RuntimeError(.engineFailed, "\(name) was interrupted from outside")
        default: return RuntimeError(.engineFailed, "\(name) ended without a complete answer: \(exit)")
        }
    }

    /// The context was full: the program ends by itself then.
    var hasFullContext: Bool { log.contains("context full") }

    /// Counts from the performance block, where the program printed one: tokens of the prompt, tokens written.
    var usage: TokenUsage? {
        guard let prompt = log.number(inLineWith: "prompt eval time", before: " tokens"),
            let runs = log.lines(with: "eval time").last(where: { !$0.contains("prompt eval time") })?
                .number(before: " runs")
        else { return nil }
        // The first token is drawn from the prompt's own evaluation.
        return TokenUsage(promptTokens: prompt, completionTokens: runs + 1)
    }
}

extension String {
    fileprivate func lines(with word: String) -> [Substring] {
        split(whereSeparator: \.isNewline).filter { $0.contains(word) }
    }

    fileprivate func number(inLineWith word: String, before unit: String) -> Int? {
        lines(with: word).last?.number(before: unit)
    }

    /// The word that follows `prefix`, if it could be a flag.
    fileprivate func firstMatch(after prefix: String) -> String? {
        guard let line = lines(with: prefix).first, let start = line.firstRange(of: prefix)?.upperBound else {
            return nil
        }
        let word = line[start...].prefix { $0.isLetter || $0.isNumber || $0 == "-" }
        return word.hasPrefix("-") && word.count < 40 ? String(word) : nil
    }
}

extension Substring {
    /// `… =  14.02 ms /  95 tokens (…`: the number before a unit.
    fileprivate func number(before unit: String) -> Int? {
        firstRange(of: unit).flatMap { self[..<$0.lowerBound].split(separator: " ").last }.flatMap { Int($0) }
    }
}
