import Core
import Node

/// Adds up the events of one answer and sees to it that it is complete.
struct AnswerTally {
    private var texts: [String]
    private var reasons: [FinishReason?]
    private var usages: [TokenUsage] = []
    private let keepsText: Bool
    /// No event has come yet.
    private(set) var isEmpty = true

    init(choices: Int, keepsText: Bool = true) {
        texts = Array(repeating: "", count: choices)
        reasons = Array(repeating: nil, count: choices)
        self.keepsText = keepsText
    }

    /// Throws ``RuntimeError`` for an answer that broke off: it must not look like one that ended.
    mutating func add(_ event: ChatEvent) throws(RuntimeError) {
        isEmpty = false
        switch event {
        case .text(let choice, let text):
            guard texts.indices.contains(choice) else { throw Self.strange }
            if keepsText { texts[choice] += text }
        case .finished(let choice, let reason, let usage):
            guard reasons.indices.contains(choice) else { throw Self.strange }
            switch reason {
            case .stop, .length: reasons[choice] = reason
            case .failed: throw RuntimeError(.engineFailed, "the engine failed in the middle of the answer")
            case .aborted: throw RuntimeError(.unavailable, "the answer was stopped before its end")
            }
            usages.append(usage)
        }
    }

    var choices: [(text: String, reason: FinishReason)] {
        zip(texts, reasons).map { (text: $0, reason: $1 ?? .stop) }
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
