package import Core

/// How far one peer may be relied on, from 0 to 100, by what this host has seen of it. Frames that are no messages and
/// signatures that do not hold cost trust, which comes back slowly; silence and broken links cost some of the rest;
/// of two that are equally good the nearer one is better. Without trust a peer is excluded: no link with it, no turn
/// to it, until it has waited.
package struct Reputation: Hashable, Sendable {
    package enum Event: Hashable, Sendable {
        /// It answered, and how long that took where that is known.
        case answered(Duration?)
        /// It did not answer, or its link broke without a goodbye.
        case failed
        /// It sent what no honest host sends: bytes that are no message, or a signature that does not hold.
        case forged
    }

    /// Fifty frames in a row take all there is; one in a while does no lasting harm.
    private static let costOfForgery = 2.0
    private static let recoveryPerMinute = 1.0
    private static let exclusion = (below: 20.0, until: 50.0)
    /// A round trip of this halves the part that speed has in the score.
    private static let slow = 0.1

    private var trust = 100.0
    private var reliability = 1.0
    private var speed = 1.0
    private var updated: Duration
    package private(set) var isExcluded = false
    package private(set) var forgeries = 0

    package init(at now: Duration) { updated = now }

    package mutating func step(_ event: Event, at now: Duration) {
        recover(now)
        switch event {
        case .answered(let roundTrip):
            reliability += (1 - reliability) * 0.05
            guard let roundTrip else { return }
            speed += (1 / (1 + max(0, roundTrip / .seconds(1)) / Self.slow) - speed) * 0.2
        case .failed: reliability -= reliability * 0.2
        case .forged:
            forgeries += 1
            trust = max(0, trust - Self.costOfForgery)
            if trust < Self.exclusion.below { isExcluded = true }
        }
    }

    /// Time passes.
    package mutating func recover(_ now: Duration) {
        guard now > updated else { return }
        trust = min(100, trust + (now - updated) / .seconds(60) * Self.recoveryPerMinute)
        updated = now
        if trust >= Self.exclusion.until { isExcluded = false }
    }

    /// 100: nothing to complain of.
    package var score: Int { Int((trust * (0.6 + 0.3 * reliability + 0.1 * speed)).rounded()) }

    /// Until it is let in again; nil where it is in.
    package var exclusionLeft: Duration? {
        isExcluded ? .seconds(60) * ((Self.exclusion.until - trust) / Self.recoveryPerMinute) : nil
    }
}

/// The reputations of all peers, bounded: of those with nothing to remember the oldest goes.
package struct Reputations: Hashable, Sendable {
    private var byNode: [NodeID: Reputation] = [:]

    package init() {}

    /// - Returns: whether the peer is excluded since this event.
    package mutating func step(_ node: NodeID, _ event: Reputation.Event, at now: Duration) -> Bool {
        if byNode[node] == nil, byNode.count >= Limits.knownHosts { forgetOne() }
        var reputation = byNode[node] ?? Reputation(at: now)
        let wasExcluded = reputation.isExcluded
        reputation.step(event, at: now)
        byNode[node] = reputation
        return reputation.isExcluded && !wasExcluded
    }

    /// Time passes for all.
    package mutating func recover(_ now: Duration) {
        for node in byNode.keys { byNode[node]?.recover(now) }
    }

    package subscript(node: NodeID) -> Reputation? { byNode[node] }

    package func isExcluded(_ node: NodeID) -> Bool { byNode[node]?.isExcluded == true }

    /// The best one has least to remember. Of equals the lowest id goes: every run decides the same.
    private mutating func forgetOne() {
        let best = byNode.min { ($1.value.score, $0.key) < ($0.value.score, $1.key) }
        if let best { byNode[best.key] = nil }
    }
}
