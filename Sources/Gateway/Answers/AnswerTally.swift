import Core
import Node

/// Adds up the events of one answer and sees to it that it is complete.
struct AnswerTally {
    private var messages: [Message]
    private var logprobs: [[TokenProbability]]
    private var failovers: [[Failover]]
    private var reasons: [FinishReason?]
    private var usages: [TokenUsage] = []
    private let keepsText: Bool
    /// No event has come yet.
    private(set) var isEmpty = true

    init(choices: Int, keepsText: Bool = true) {
        messages = Array(repeating: Message(.assistant, ""), count: choices)
        logprobs = Array(repeating: [], count: choices)
        failovers = Array(repeating: [], count: choices)
        reasons = Array(repeating: nil, count: choices)
        self.keepsText = keepsText
    }

    /// Throws ``RuntimeError`` for an answer that broke off: it must not look like one that ended.
    mutating func add(_ event: ChatEvent) throws(RuntimeError) {
        isEmpty = false
        switch event {
        case .text(let choice, let text):
            guard messages.indices.contains(choice) else { throw Self.strange }
            if keepsText { messages[choice].text += text }
        case .reasoning(let choice, let text):
            guard messages.indices.contains(choice) else { throw Self.strange }
            if keepsText { messages[choice].reasoning = (messages[choice].reasoning ?? "") + text }
        case .toolCall(let choice, let piece):
            guard messages.indices.contains(choice) else { throw Self.strange }
            if keepsText { try messages[choice].add(piece) }
        case .logprobs(let choice, let tokens):
            guard logprobs.indices.contains(choice) else { throw Self.strange }
            if keepsText { logprobs[choice] += tokens }
        case .moved(let choice, let failover):
            guard failovers.indices.contains(choice) else { throw Self.strange }
            failovers[choice].append(failover)
        case .finished(let choice, let reason, let usage):
            guard reasons.indices.contains(choice) else { throw Self.strange }
            switch reason {
            case .stop, .length, .toolCalls: reasons[choice] = reason
            case .failed: throw RuntimeError(.engineFailed, "the engine failed in the middle of the answer")
            case .aborted: throw RuntimeError(.unavailable, "the answer was stopped before its end")
            }
            usages.append(usage)
        }
    }

    struct Choice {
        var message: Message
        var logprobs: [TokenProbability]
        var reason: FinishReason
        /// Who went on with it, in their order.
        var failovers: [Failover] = []
    }

    var choices: [Choice] {
        messages.indices.map {
            Choice(
                message: messages[$0], logprobs: logprobs[$0], reason: reasons[$0] ?? .stop, failovers: failovers[$0])
        }
    }

    /// The prompt counts once, however many answers were written to it. Throws unless every answer is complete.
    func usage() throws(RuntimeError) -> TokenUsage {
        guard var sum = usages.first, reasons.allSatisfy({ $0 != nil }) else {
            throw RuntimeError(.engineFailed, "the answer ended before it was complete")
        }
        for usage in usages.dropFirst() {
            let (tokens, overflows) = sum.completionTokens.addingReportingOverflow(usage.completionTokens)
            sum.completionTokens = overflows ? Int.max : tokens
            sum.isExact = sum.isExact && usage.isExact
        }
        return sum
    }

    private static var strange: RuntimeError {
        RuntimeError(.internal, "the engine answered a choice that nobody asked for")
    }
}
