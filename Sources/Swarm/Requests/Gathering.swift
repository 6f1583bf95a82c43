/// Several hosts write answers to one request, and one result comes of them. A pure machine: what happens to the parts
/// in, what to do with them out.
package struct Gathering: Sendable {
    package enum Mode: String, Hashable, Sendable, CaseIterable {
        /// The first whole answer; whoever writes on is stopped.
        case firstSuccess = "first-success"
        /// What most of them say, as soon as it is settled; of equals the one that the route put first.
        case vote
        /// All of them, under their hosts' names.
        case merge
    }

    package enum State: String, Hashable, Sendable {
        case running
        case completed
        case failed
        /// Not needed any more.
        case cancelled
    }

    package enum Effect: Hashable, Sendable {
        case cancel(Int)
        case finish(Outcome)
    }

    package enum Outcome: Hashable, Sendable {
        /// The answer of one part stands for all.
        case answer(part: Int)
        /// The answers of these, in this order.
        case joined(parts: [Int])
        /// No part came to an answer.
        case failed
    }

    package let mode: Mode
    /// In the order of the route.
    package private(set) var states: [State]
    private var ballots: [String?]
    package private(set) var outcome: Outcome?

    package init(_ mode: Mode, parts: Int) {
        self.mode = mode
        states = Array(repeating: .running, count: max(0, parts))
        ballots = Array(repeating: nil, count: max(0, parts))
    }

    /// How many parts say the same as each completed one does.
    package var votes: [Int] {
        ballots.map { ballot in ballot.map { ballot in ballots.count { $0 == ballot } } ?? 0 }
    }

    package mutating func completed(_ part: Int, text: String) -> [Effect] {
        guard outcome == nil, states.indices.contains(part), states[part] == .running else { return [] }
        states[part] = .completed
        ballots[part] = Self.normalised(text)
        return judge()
    }

    package mutating func failed(_ part: Int) -> [Effect] {
        guard outcome == nil, states.indices.contains(part), states[part] == .running else { return [] }
        states[part] = .failed
        return judge()
    }

    /// No more is waited for: what there is counts.
    package mutating func expired() -> [Effect] {
        guard outcome == nil else { return [] }
        return settle()
    }

    /// Two answers say the same where they differ in nothing but case and white space.
    package static func normalised(_ text: String) -> String {
        text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    private mutating func judge() -> [Effect] {
        let isOver = !states.contains(.running)
        switch mode {
        case .firstSuccess: return isOver || states.contains(.completed) ? settle() : []
        case .vote:
            // Those that still write cannot change it.
            let isSettled = votes.contains { 2 * $0 > states.count }
            return isOver || isSettled ? settle() : []
        case .merge: return isOver ? settle() : []
        }
    }

    private mutating func settle() -> [Effect] {
        let outcome = decided()
        self.outcome = outcome
        let late = states.indices.filter { states[$0] == .running }
        for part in late { states[part] = .cancelled }
        return late.map { .cancel($0) } + [.finish(outcome)]
    }

    private func decided() -> Outcome {
        let whole = states.indices.filter { states[$0] == .completed }
        guard let first = whole.first else { return .failed }
        switch mode {
        case .firstSuccess: return .answer(part: first)
        case .vote:
            let votes = votes
            let most = whole.map { votes[$0] }.max() ?? 0
            return .answer(part: whole.first { votes[$0] == most } ?? first)
        case .merge: return .joined(parts: whole)
        }
    }
}
