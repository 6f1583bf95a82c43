// The replicated log of one host, without I/O (swarm.md §2): what this host writes gets its place in its own origin's
// stream; what others wrote is taken exactly once and in order, whatever order it arrives in.
//
// Taken from the page as it stands, with one reading of ours: an operation whose dependencies are not here yet waits
// at the head of its own origin's queue, so an origin's stream is always applied without gaps.

package import Core
internal import Cryptography

/// A pure machine: events and the wall clock in, actions out. Its shell performs the actions in their order.
package struct OperationLog: Sendable {
    /// What this host wants to write.
    package struct Draft: Sendable {
        package var kind: Operation.Kind
        package var stream: StreamID
        package var dependencies: [Dot]
        package var body: [UInt8]

        package init(kind: Operation.Kind, stream: StreamID, dependencies: [Dot] = [], body: [UInt8]) {
            self.kind = kind
            self.stream = stream
            self.dependencies = dependencies
            self.body = body
        }
    }

    package enum Action: Hashable, Sendable {
        /// Store these, in this order and at once, with the heads that follow from them; then show them in the views.
        case apply([Operation], heads: [LogHead])
        /// Ask peers for the operations of `origin` above `after`.
        case pull(origin: Origin, after: UInt64)
        /// A peer's clock is further ahead than we follow; the operation is taken all the same.
        case clockAhead(NodeID, milliseconds: UInt64)
        /// Too much waits for a gap to close: the operation is dropped and will be pulled.
        case dropped(Dot)
    }

    /// The stream that this host writes at present.
    package private(set) var origin: Origin
    /// What has been applied.
    package private(set) var applied: VersionVector
    private var chains: [Origin: ChainHash]
    private var clock: HybridClock
    private var parked: [Origin: Parking] = [:]
    /// Of all that is parked.
    private var parkedBytes = 0

    /// Operations of one origin that wait for others, by sequence.
    private struct Parking {
        var operations: [UInt64: Operation] = [:]
        var bytes = 0

        /// About what an operation takes while it waits.
        static func size(of operation: Operation) -> Int {
            operation.body.count + 128 + 48 * operation.dependencies.count
        }
    }

    package init(_ recovered: RecoveredLog) {
        origin = recovered.origin
        applied = VersionVector()
        chains = [:]
        for head in recovered.heads {
            applied[head.origin] = head.sequence
            chains[head.origin] = head.chain
        }
        clock = HybridClock(latest: recovered.latestTimestamp)
    }

    /// Gives each draft the next place in this host's stream. A draft may depend on an earlier one of the same call:
    /// ``nextDot(after:)`` tells which dot that will be.
    ///
    /// - Returns: one `apply`, or nothing for no drafts.
    package mutating func proposed(_ drafts: [Draft], milliseconds: UInt64) -> [Action] {
        guard !drafts.isEmpty else { return [] }
        var operations: [Operation] = []
        for draft in drafts {
            let operation = Operation(
                dot: nextDot(), kind: draft.kind, timestamp: clock.tick(milliseconds: milliseconds),
                stream: draft.stream, dependencies: draft.dependencies, body: draft.body)
            advance(over: operation)
            operations.append(operation)
        }
        return [.apply(operations, heads: [head(of: origin)])]
    }

    /// The dot of this host's next operation but `count`.
    package func nextDot(after count: Int = 0) -> Dot {
        Dot(origin: origin, sequence: applied[origin] &+ 1 &+ UInt64(clamping: count))
    }

    /// Takes what a peer sent; their signatures are checked by now. Older ones are ignored, younger ones wait.
    package mutating func received(_ operations: [Operation], milliseconds: UInt64) -> [Action] {
        var actions: [Action] = []
        var ready: [Operation] = []
        var dropped: Set<Origin> = []
        for operation in operations where !applied.contains(operation.dot) {
            avoid(operation.dot.origin)
            if !clock.observe(operation.timestamp, milliseconds: milliseconds) {
                actions.append(
                    .clockAhead(operation.dot.origin.node, milliseconds: operation.timestamp.milliseconds))
            }
            if isReady(operation) {
                // It never waits, so a long batch in order is bounded by nothing but itself.
                take(operation, into: &ready)
            } else if !park(operation) {
                actions.append(.dropped(operation.dot))
                dropped.insert(operation.dot.origin)
            }
        }
        takeParked(into: &ready)
        if !ready.isEmpty {
            let origins = Set(ready.map(\.dot.origin))
            actions.append(.apply(ready, heads: origins.sorted().map(head(of:))))
        }
        return actions + gaps(dropped)
    }

    /// What is still missing, for a peer that says how far it is.
    package mutating func behind(_ theirs: VersionVector) -> [Action] {
        for entry in theirs.entries where applied[entry.origin] < entry.sequence { avoid(entry.origin) }
        return theirs.entries.compactMap { entry in
            let ours = applied[entry.origin]
            return ours < entry.sequence ? .pull(origin: entry.origin, after: ours) : nil
        }
    }

    /// The last commit of this host's stream was refused by the disk: what it numbered never existed. A new epoch
    /// begins, so that no number is ever given twice (swarm.md §1).
    package mutating func abandonEpoch() {
        avoid(origin)
        // What peers hold of this host's epochs from before a restored backup is not written again either.
        for entry in applied.entries { avoid(entry.origin) }
    }

    package func head(of origin: Origin) -> LogHead {
        LogHead(origin: origin, sequence: applied[origin], chain: chains[origin] ?? .empty)
    }

    // MARK: - Parts

    /// Operations of `used` exist, or may exist, that this host does not hold: where it writes that epoch or an
    /// earlier one, it goes on above (swarm.md §1). No host comes to the last epoch by itself: a claim of it is void.
    private mutating func avoid(_ used: Origin) {
        guard used.node == origin.node, used.epoch >= origin.epoch, used.epoch < .max else { return }
        origin = Origin(node: origin.node, epoch: used.epoch + 1)
    }

    private mutating func advance(over operation: Operation) {
        let origin = operation.dot.origin
        applied[origin] = operation.dot.sequence
        chains[origin] = Self.chain((chains[origin] ?? .empty), operation)
    }

    /// chain_n = SHA-256(chain_{n-1} ‖ SHA-256(op_n)); an erased operation carries the hash that it had
    /// (swarm.md §2, §4).
    package static func chain(_ previous: ChainHash, _ operation: Operation) -> ChainHash {
        let hash =
            operation.flags.contains(.erased) ? operation.body : SHA256.hash(OperationCodec.encode(operation))
        return ChainHash(SHA256.hash(previous.bytes + hash))
    }

    private func isReady(_ operation: Operation) -> Bool {
        operation.dot.sequence == applied[operation.dot.origin] &+ 1
            && operation.dependencies.allSatisfy { applied.contains($0) }
    }

    private mutating func take(_ operation: Operation, into ready: inout [Operation]) {
        unpark(operation.dot)
        advance(over: operation)
        ready.append(operation)
    }

    /// False when a bound is reached.
    private mutating func park(_ operation: Operation) -> Bool {
        let origin = operation.dot.origin
        var parking = parked[origin] ?? Parking()
        guard parking.operations[operation.dot.sequence] == nil else { return true }
        let size = Parking.size(of: operation)
        // The next one of its origin waits for another origin; without it nothing behind it could ever be taken.
        let isNext = operation.dot.sequence == applied[origin] &+ 1
        guard
            parkedBytes + size <= Limits.parkedBytes,
            isNext
                || parking.operations.count < Limits.parkedOperationsPerOrigin
                    && parking.bytes + size <= Limits.parkedBytesPerOrigin
        else { return false }
        parking.operations[operation.dot.sequence] = operation
        parking.bytes += size
        parkedBytes += size
        parked[origin] = parking
        return true
    }

    private mutating func unpark(_ dot: Dot) {
        guard let operation = parked[dot.origin]?.operations.removeValue(forKey: dot.sequence) else { return }
        let size = Parking.size(of: operation)
        parkedBytes -= size
        parked[dot.origin]?.bytes -= size
        if parked[dot.origin]?.operations.isEmpty == true { parked[dot.origin] = nil }
    }

    /// All that waited and can be applied now, in an order in which each follows what it depends on.
    private mutating func takeParked(into ready: inout [Operation]) {
        var progressed = true
        while progressed {
            progressed = false
            for origin in parked.keys.sorted() {
                while let next = parked[origin]?.operations[applied[origin] &+ 1], isReady(next) {
                    take(next, into: &ready)
                    progressed = true
                }
            }
        }
    }

    /// A pull for every origin whose next operation, or whose dependency, is not here; and for those of which
    /// something was dropped, unless what comes before it waits itself.
    private func gaps(_ dropped: Set<Origin>) -> [Action] {
        var after: [Origin: UInt64] = [:]
        for origin in dropped where parked[origin]?.operations[applied[origin] &+ 1] == nil {
            after[origin] = applied[origin]
        }
        for (origin, parking) in parked {
            if let next = parking.operations[applied[origin] &+ 1] {
                for dependency in next.dependencies where !applied.contains(dependency) {
                    after[dependency.origin] = applied[dependency.origin]
                }
            } else {
                after[origin] = applied[origin]
            }
        }
        return after.sorted { $0.key < $1.key }.map { .pull(origin: $0.key, after: $0.value) }
    }
}
