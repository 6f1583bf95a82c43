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
        cost: TokenCost
    ) throws(RuntimeError) {
        let required = cost.tokens(of: instructions + new)
        guard required < contextLength else {
            throw RuntimeError(
                .contextLengthExceeded,
                "the last turn and the instructions take \(required) tokens, the model's context is "
                    + "\(contextLength); shorten the message or use a model with a longer context",
                parameter: "messages")
        }
        let sizes = history.map(cost.tokens(of:))
        let reserve = min(maximumTokens ?? 1_024, contextLength / 4)
        let room = max(0, contextLength - required - reserve)
        let start = Self.start(history, sizes: sizes, room: room, highWater: contextLength / 4 * 3)
        let kept = Array(history[start...])
        let prompt = required + sizes[start...].reduce(0, +)

        messages = instructions + kept + new
        self.maximumTokens = max(1, min(maximumTokens ?? Int.max, contextLength - prompt))
        report = ContextReport(
            promptTokens: prompt, contextLength: contextLength, included: messages.count, omitted: start)
    }

    /// The first message of the history that stays. Replayed from the beginning, so that it depends on nothing but the
    /// history: above the high-water mark the oldest leave until half of it is left.
    private static func start(_ history: [Message], sizes: [Int], room: Int, highWater: Int) -> Int {
        var start = 0
        var sum = 0
        for (index, size) in sizes.enumerated() {
            sum += size
            if sum > highWater { leave(history, sizes, through: index, from: &start, sum: &sum, until: highWater / 2) }
        }
        if sum > room {
            leave(history, sizes, through: sizes.count - 1, from: &start, sum: &sum, until: room / 4 * 3)
        }
        return start
    }

    /// Whole exchanges leave: what stays begins with a user's message.
    private static func leave(
        _ history: [Message], _ sizes: [Int], through last: Int, from start: inout Int, sum: inout Int, until target: Int
    ) {
        while start <= last, sum > target || history[start].role == .assistant {
            sum -= sizes[start]
            start += 1
        }
    }
}
