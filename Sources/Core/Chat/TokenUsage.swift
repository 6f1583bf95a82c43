/// Tokens counted for one answer.
package struct TokenUsage: Hashable, Sendable {
    package var promptTokens: Int
    package var completionTokens: Int
    /// The part of the prompt that the engine still held from earlier work.
    package var cachedTokens: Int
    /// False where the engine does not tell and the counts are our estimate.
    package var isExact: Bool
    /// The stop string that ended the answer, where one did and the engine tells. Not kept with the turn.
    package var stop: String?

    package init(promptTokens: Int, completionTokens: Int, cachedTokens: Int = 0, isExact: Bool = true) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
        self.cachedTokens = cachedTokens
        self.isExact = isExact
    }

    /// Never overflows: the counts may come from another program, or from another host's disk.
    package var totalTokens: Int {
        let (sum, overflows) = promptTokens.addingReportingOverflow(completionTokens)
        return overflows ? Int.max : sum
    }
}
