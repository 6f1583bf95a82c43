package import Core

/// Which messages a model sees (design.md §3): the instructions, then as many whole recent exchanges as fit, then what
/// is new. Older ones leave in large steps, so that the prompt's beginning, and with it the engine's cache, stays the
/// same over many turns. A pure function of its inputs: every host cuts alike.
package struct PromptWindow: Sendable {
    package var messages: [Message]
    package var maximumTokens: Int
    package var report: ContextReport

    /// - Throws: ``RuntimeError`` `.contextLengthExceeded` when the instructions and `new` alone leave no room for a
    ///   single token of an answer.
    package init(
        instructions: [Message], history: [Message], new: [Message], maximumTokens: Int?, contextLength: Int,
        cost: TokenCost, shape: AnswerShape = AnswerShape()
    ) throws(RuntimeError) {
        // What tools gave back means nothing without the calls, and these nothing without what was asked.
        let exchange =
            new.first?.role == .user ? history.endIndex : history.lastIndex { $0.role == .user } ?? history.startIndex
        let new = history[exchange...] + new
        let history = Array(history[..<exchange])
        let tools = cost.tokens(ofBytes: shape.promptBytes)
        let required = tools + cost.tokens(of: instructions + new)
        guard required < contextLength else {
            throw RuntimeError(
                .contextLengthExceeded,
                "the last turn and the instructions take \(required) tokens, the model's context is "
                    + "\(contextLength); shorten the message or use a model with a longer context",
                parameter: "messages")
        }
        let asked = max(1, maximumTokens ?? 1_024)
        let before = tools + cost.tokens(of: instructions)
        let sizes = history.map(cost.tokens(of:))
        let reserve = max(1, min(asked, contextLength / 4))
        let start = Self.start(
            history, sizes: sizes, new: required - before, room: contextLength - before - reserve)
        let kept = Array(history[start...])
        let prompt = required + sizes[start...].reduce(0, +)

        messages = instructions + kept + new
        self.maximumTokens = max(1, min(maximumTokens.map { max(1, $0) } ?? Int.max, contextLength - prompt))
        report = ContextReport(
            promptTokens: prompt, contextLength: contextLength, included: messages.count, omitted: start)
    }

    /// The first message of the history that stays. Replayed from the beginning, turn by turn as it was asked, so that
    /// it depends on nothing but what was said: where a turn did not fit, the oldest left until half of the room beside
    /// it was free, and they stay away. What fitted once and has only grown fits no more, so nothing is left out that
    /// would fit.
    private static func start(_ history: [Message], sizes: [Int], new: Int, room: Int) -> Int {
        var start = 0
        var sum = 0
        /// Whole exchanges leave: what stays begins with a user's message.
        func fit(before end: Int, beside size: Int) {
            guard sum + size > room else { return }
            let target = max(0, room - size) / 2
            while start < end, sum > target || history[start].role != .user {
                sum -= sizes[start]
                start += 1
            }
        }
        for (index, message) in history.enumerated() {
            if message.role == .user { fit(before: index, beside: sizes[index]) }
            sum += sizes[index]
        }
        fit(before: history.count, beside: new)
        return start
    }
}
