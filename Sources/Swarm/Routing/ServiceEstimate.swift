import Core

/// How long a host would take, in seconds: what `auto` compares.
struct ServiceEstimate: Hashable, Sendable {
    /// There and back.
    var network: Double
    /// Until it is this request's turn.
    var queue: Double
    /// Until the prompt has been read; what the host has read before is not read again.
    var reading: Double
    /// Until the answer is written.
    var writing: Double
    /// Until the model is loaded.
    var loading: Double
    /// How much of the above is expected to come true: above 1 for hosts that fail, or come back from failing.
    var doubt: Double

    /// Of a model that has not been measured yet.
    private static let readRate = 500.0
    private static let writeRate = 20.0
    /// No host is believed to be faster.
    private static let fastest = (read: 1_000_000.0, write: 10_000.0)
    /// Answers are seldom as long as they may be.
    private static let usualAnswer = 256
    private static let hop = 0.001
    private static let load = 10.0

    /// - Parameters:
    ///   - work: what the candidate does for the model.
    ///   - begun: requests sent there since it told of its load.
    init(
        _ candidate: RouteCandidate, _ work: ModelLoad?, _ question: RouteQuestion, cached: Int, begun: Int,
        doubt: Double
    ) {
        let tokens = Double(max(0, question.prefix.tokens - cached))
        reading = tokens / min(Self.fastest.read, max(1, work?.readRate ?? Self.readRate))
        let answer = Double(max(1, min(question.maximumTokens, Self.usualAnswer)))
        writing = answer / min(Self.fastest.write, max(0.1, work?.writeRate ?? Self.writeRate))
        let slots = max(1, work?.slots ?? 1)
        let ahead = max(0, (work?.running ?? 0) + (work?.waiting ?? 0) + begun)
        // A place is free, or that many rounds go by before one is.
        queue = ahead < slots ? 0 : Double(ahead - slots + 1) / Double(slots) * (reading + writing)
        network = candidate.isSelf ? 0 : Self.hop + max(0, candidate.roundTrip / .seconds(1))
        loading = candidate.model.isReady ? 0 : Self.load
        self.doubt = doubt * (2 - Double(max(0, min(100, candidate.reputation))) / 100)
    }

    var toFirstToken: Double { network + loading + queue + reading }
    var toLastToken: Double { toFirstToken + writing }

    /// People wait for the first token, machines for the last: both count.
    var cost: Double { (toFirstToken + toLastToken) * doubt }

    var parts: [RouteDecision.Part] {
        [
            .init("network", network), .init("loading", loading), .init("queue", queue), .init("reading", reading),
            .init("writing", writing), .init("doubt", doubt),
        ]
    }
}
