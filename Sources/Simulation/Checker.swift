import Core
import Swarm

/// What must hold in every run (swarm.md §13), told of everything that matters as it happens.
struct Checker {
    /// A turn of which a client was told that it is kept.
    struct Acknowledgement {
        var host: Int
        var at: Duration
        /// Two hosts or one disk: which of them it was.
        var wasSynced: Bool
    }

    private(set) var violations: [Violation] = []
    private(set) var operations = 0
    private(set) var acknowledged: [Dot: Acknowledgement] = [:]
    /// From when on all members held the same.
    private(set) var recovered: Duration?
    /// Since when they have not, and how long that took at the most, from the healing on.
    private var unequalSince: Duration?
    private(set) var longestUnequal: Duration = .zero
    private(set) var falseDeaths = 0
    private(set) var starvedDeaths = 0
    var clonesNamed = 0

    private var named: Set<String> = []
    /// The chain of every stream at every place where a commit ended.
    private var chains: [Dot: ChainHash] = [:]
    /// What was written under every dot.
    private var contents: [Dot: Operation] = [:]
    /// Origins of which two contents exist under one dot.
    private(set) var contested: Set<Origin> = []
    private(set) var proven: Set<Origin> = []
    /// Gone with a disk that was set back: neither two hosts nor a disk that tells the truth held it.
    private var forgiven: Set<Dot> = []
    /// Hosts whose power cut took a copy. Two such losses are more than the rule promises to survive.
    private var losses: [Dot: Set<Int>] = [:]

    /// The first of each invariant is enough.
    mutating func violated(_ invariant: String, _ detail: String, at now: Duration) {
        guard named.insert(invariant).inserted else { return }
        violations.append(Violation(invariant: invariant, at: now, detail: detail))
    }

    // MARK: - Told by the world

    /// A host has written these: whether anybody sees them is another matter.
    mutating func signed(_ operations: [Operation]) {
        self.operations += operations.count
        for operation in operations {
            if let known = contents[operation.dot], known != operation { contested.insert(operation.dot.origin) }
            contents[operation.dot] = operation
        }
    }

    /// A host has stored streams up to these.
    mutating func stored(_ heads: [LogHead], by host: Int) {
        for head in heads {
            let dot = Dot(origin: head.origin, sequence: head.sequence)
            if let known = chains[dot] {
                if known != head.chain { contested.insert(head.origin) }
            } else {
                chains[dot] = head.chain
            }
        }
    }

    /// Somebody holds a proof that this origin signed two streams.
    mutating func proved(_ origin: Origin) { proven.insert(origin) }

    mutating func acknowledge(_ dots: [Dot], by host: Int, wasSynced: Bool, at now: Duration) {
        for dot in dots where acknowledged[dot] == nil {
            acknowledged[dot] = Acknowledgement(host: host, at: now, wasSynced: wasSynced)
        }
    }

    mutating func lost(_ dots: [Dot], by host: Int) {
        for dot in dots { losses[dot, default: []].insert(host) }
    }

    mutating func forgave(_ dots: [Dot]) { forgiven.formUnion(dots) }

    mutating func recovered(at now: Duration) {
        if recovered == nil { recovered = now }
        unequalSince = nil
    }

    /// A late answer may make the logs unequal once more: each time counts for itself.
    mutating func unrecovered(at now: Duration) {
        recovered = nil
        unequalSince = unequalSince ?? now
        longestUnequal = max(longestUnequal, now - (unequalSince ?? now))
    }

    /// Whether the rule promises that the operation is still there.
    func mustSurvive(_ dot: Dot) -> Bool {
        !forgiven.contains(dot) && (losses[dot]?.count ?? 0) < 2 && !contested.contains(dot.origin)
    }

    /// A host took another for dead that lives.
    mutating func falselyDead(isStarved: Bool) {
        if isStarved { starvedDeaths += 1 } else { falseDeaths += 1 }
    }
}
