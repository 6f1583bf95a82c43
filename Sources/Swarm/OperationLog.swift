// The replicated log of one host, without I/O (swarm.md §2): what this host writes gets its place in its own origin's
// stream and its author's seal; what others wrote is taken exactly once and in order, whatever order it arrives in, and
// only as its author signed it.
//
// Taken from the page as it stands, with these readings of ours:
// - An operation whose dependencies are not here yet waits at the head of its own origin's queue, so an origin's
//   stream is always applied without gaps.
// - A batch as its author made it is applied whole or not at all: a part of it has no seal, so a host that lost the
//   rest could prove that part to nobody. It cannot wait for itself: its author had applied whole batches only. What a
//   store has joined together from several is applied as far as it goes (`isDivisible`), since the parts of two such
//   may wait for one another; the store that sent it holds the seal.
// - Two contradicting seals are found as far back as the trail of chain hashes reaches that is kept in memory.

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

    /// Operations with a place in the log.
    package struct Advance: Hashable, Sendable {
        /// Each after what it depends on.
        package var operations: [Operation] = []
        /// Where their origins stand after them.
        package var heads: [LogHead] = []
        package var seals: [BatchSeal] = []
        /// Batches of others as their authors made them, which may be passed on.
        package var whole: [OperationBatch] = []
    }

    package enum Action: Hashable, Sendable {
        /// Store these, in this order and at once; then show them in the views.
        case apply(Advance)
        /// Ask peers for the operations of `origin` above `after`.
        case pull(origin: Origin, after: UInt64)
        /// A peer's clock is further ahead than we follow; the operation is taken all the same.
        case clockAhead(NodeID, milliseconds: UInt64)
        /// Too much waits for a gap to close: the batch that begins here is dropped and will be pulled.
        case dropped(Dot)
        /// The batch is not what its author signed, or the author signed something else than what is here: that shows
        /// once `by` gives what it has of the origin above `after`.
        case rejected(Origin, sequence: UInt64, after: UInt64, by: NodeID)
        /// The author signed two streams: proof. Nothing more is taken of the origin.
        case equivocated(Equivocation)
    }

    /// Two words of one author that contradict each other, with the chains that they cover.
    package struct Equivocation: Hashable, Sendable {
        /// The last place that both have in common.
        package var fork: LogHead
        /// What the author signed beside what is here.
        package var theirs: OperationBatch

        package var origin: Origin { fork.origin }
    }

    /// The stream that this host writes at present.
    package private(set) var origin: Origin
    /// What has been applied.
    package private(set) var applied: VersionVector
    /// Origins of which contradicting seals are known.
    package internal(set) var frozen: Set<Origin> = []
    /// Origins whose operations above these places nobody has any more.
    private var forsaken: [Origin: UInt64] = [:]
    /// The latest seal of each origin.
    package private(set) var seals: [Origin: BatchSeal] = [:]
    let scheme: SealScheme
    private var chains: [Origin: ChainHash] = [:]
    /// The chain hashes at the last operations of each origin, ascending and without gaps.
    private var trails: [Origin: Trail] = [:]
    /// Of these more is kept, the latest asked for last.
    private var longTrails: [Origin] = []
    private var clock: HybridClock
    var waiting = WaitingBatches()

    /// How far back contradictions are recognised, in operations.
    private static let trailLength = 64
    /// The same where the store was asked for it.
    static let longTrail = 4_096
    private static let longTrails = 16

    private struct Trail {
        /// The place of the first of ``chains``.
        var start: UInt64
        var chains: [ChainHash]
    }

    package init(_ recovered: RecoveredLog, seals scheme: SealScheme) {
        origin = recovered.origin
        applied = VersionVector()
        clock = HybridClock(latest: recovered.latestTimestamp)
        self.scheme = scheme
        for head in recovered.heads {
            applied[head.origin] = head.sequence
            chains[head.origin] = head.chain
            trails[head.origin] = Trail(start: head.sequence, chains: [head.chain])
        }
    }

    // MARK: - Own operations

    /// Gives each draft the next place in this host's stream. A draft may depend on an earlier one of the same call:
    /// ``nextDot(after:)`` tells which dot that will be.
    ///
    /// - Returns: what to apply, and the same as batches to send: more than one where they would not fit into one.
    /// - Throws: what the signing throws; nothing is numbered then.
    package mutating func proposed(
        _ drafts: [Draft], milliseconds: UInt64
    ) throws(RuntimeError) -> (advance: Advance, batches: [OperationBatch]) {
        // In its place: a copy of the whole log for each turn would cost what all origins together remember.
        let (former, formerSeal) = (head(of: origin), seals[origin])
        var batches: [OperationBatch] = []
        var operations: [Operation] = []
        var bytes = 0
        do {
            for draft in drafts {
                let operation = Operation(
                    dot: nextDot(), kind: draft.kind, timestamp: clock.tick(milliseconds: milliseconds),
                    stream: draft.stream, dependencies: draft.dependencies, body: draft.body)
                if operations.count == Limits.batchOperations || bytes + operation.body.count > Limits.batchBytes {
                    batches.append(try seal(operations))
                    operations = []
                    bytes = 0
                }
                advance(over: operation)
                operations.append(operation)
                bytes += operation.body.count
            }
            if !operations.isEmpty { batches.append(try seal(operations)) }
        } catch {
            retreat(to: [former])
            seals[origin] = formerSeal
            throw error
        }
        let heads = batches.isEmpty ? [] : [head(of: origin)]
        return (Advance(operations: batches.flatMap(\.operations), heads: heads, seals: batches.map(\.seal)), batches)
    }

    private mutating func seal(_ operations: [Operation]) throws(RuntimeError) -> OperationBatch {
        let seal = try scheme.sealed(head(of: origin))
        seals[origin] = seal
        return OperationBatch(operations: operations, seal: seal)
    }

    /// The dot of this host's next operation but `count`.
    package func nextDot(after count: Int = 0) -> Dot {
        Dot(origin: origin, sequence: applied[origin] &+ 1 &+ UInt64(clamping: count))
    }

    /// This host's stream ends: what it numbered last may never have existed. A new epoch begins, so that no number is
    /// ever given twice (swarm.md §1).
    package mutating func abandonEpoch() {
        avoid(origin)
        // What peers hold of this host's epochs from before a restored backup is not written again either.
        for entry in applied.entries { avoid(entry.origin) }
    }

    /// A peer's word on how far it is. Where that is further in this host's own stream than the host itself, the
    /// stream ends (restored backup). Returns whether it did.
    package mutating func heard(_ theirs: VersionVector) -> Bool {
        let before = origin
        for entry in theirs.entries where applied[entry.origin] < entry.sequence { avoid(entry.origin) }
        return origin != before
    }

    // MARK: - Operations of others

    /// Takes what a peer sent. Older ones are ignored, younger ones wait.
    ///
    /// - Parameter isDivisible: what a store has joined, not as its author sent it.
    package mutating func received(
        _ batches: [OperationBatch], from peer: NodeID, isDivisible: Bool = false, milliseconds: UInt64
    ) -> [Action] {
        var taking = Taking(milliseconds: milliseconds)
        var dropped: Set<Origin> = []
        for batch in batches {
            guard let last = Self.last(of: batch) else {
                let first = batch.operations.first?.dot.sequence ?? 0
                taking.actions.append(
                    .rejected(batch.origin, sequence: first, after: applied[batch.origin], by: peer))
                continue
            }
            guard !frozen.contains(batch.origin) else { continue }
            guard last > applied[batch.origin] else {
                compare(batch, from: peer, &taking)
                continue
            }
            var isKept = waiting.add(batch, from: peer, isDivisible: isDivisible, after: applied[batch.origin])
            take(batch.origin, &taking)
            // Only what still waits counts against the bounds.
            if waiting.bytes > Limits.parkedBytes, waiting.removeLatest(of: batch.origin) { isKept = false }
            if !isKept {
                taking.actions.append(.dropped(batch.operations[0].dot))
                dropped.insert(batch.origin)
            }
        }
        takeWaiting(&taking)
        return finish(taking) + gaps(dropped)
    }

    private func finish(_ gathered: Taking) -> [Action] {
        var taking = gathered
        guard !taking.advance.operations.isEmpty else { return taking.actions }
        taking.advance.heads = Set(taking.advance.operations.map(\.dot.origin)).sorted().map { head(of: $0) }
        return taking.actions + [.apply(taking.advance)]
    }

    /// Nobody has the next operations of these origins any more: who depends on them waits no longer. What a
    /// conversation looks like does not depend on the order in which its operations come.
    package mutating func forsaken(_ origins: [Origin], milliseconds: UInt64) -> [Action] {
        var taking = Taking(milliseconds: milliseconds)
        if forsaken.count >= Limits.knownHosts { forsaken = [:] }
        for origin in origins {
            let reach = reach(of: origin)
            forsaken[origin] = reach
            // What waits behind the gap waits for ever. Should the gap be filled, it is asked for again.
            waiting.removeAll(of: origin, above: reach)
            // Somebody wrote it in this host's name: a copy of its disk.
            avoid(origin)
        }
        takeWaiting(&taking)
        return finish(taking)
    }

    /// The store refused what was applied last: these origins stand where it has them.
    package mutating func retreat(to heads: [LogHead]) {
        for head in heads where head.sequence < applied[head.origin] {
            applied[head.origin] = head.sequence
            chains[head.origin] = head.chain
            trails[head.origin] = Trail(start: head.sequence, chains: [head.chain])
            if let seal = seals[head.origin], seal.sequence > head.sequence { seals[head.origin] = nil }
            waiting.distrust(head.origin)
        }
    }

    package func head(of origin: Origin) -> LogHead {
        LogHead(origin: origin, sequence: applied[origin], chain: chains[origin] ?? .empty)
    }

    /// How far this host is with what waits here counted, up to the first gap.
    package func reach(of origin: Origin) -> UInt64 { waiting.reach(of: origin, from: applied[origin]) }

    /// Takes chain hashes from the store: the last is that at `sequence`. Returns from where on contradictions can be
    /// proven now; nil where this is no longer what is here.
    mutating func lengthenTrail(of origin: Origin, _ chains: [ChainHash], upTo sequence: UInt64) -> UInt64? {
        guard let last = chains.last, chain(at: sequence, of: origin) == last, var trail = trails[origin],
            UInt64(chains.count) <= sequence &+ 1, sequence >= trail.start
        else { return nil }
        trail.chains = chains + trail.chains.dropFirst(Int(sequence - trail.start) + 1)
        trail.start = sequence + 1 - UInt64(chains.count)
        trails[origin] = trail
        longTrails.removeAll { $0 == origin }
        longTrails.append(origin)
        if longTrails.count > Self.longTrails { shortenTrail(of: longTrails.removeFirst(), to: Self.trailLength) }
        return trail.start
    }

    /// Contradictions of what comes after this place can be proven.
    func trailStart(of origin: Origin) -> UInt64 { trails[origin]?.start ?? 0 }

    /// Batches that wait for something else, and what they take.
    package var parked: (batches: Int, bytes: Int) { (waiting.count, waiting.bytes) }

    // MARK: - Parts

    /// What one call gathers.
    private struct Taking {
        var milliseconds: UInt64
        var advance = Advance()
        var actions: [Action] = []
    }

    /// The last sequence of a batch that is what a batch must be; nil for any other.
    private static func last(of batch: OperationBatch) -> UInt64? {
        guard let first = batch.operations.first, first.dot.sequence > 0 else { return nil }
        var next = first.dot.sequence
        for operation in batch.operations {
            guard operation.dot.origin == batch.origin, operation.dot.sequence == next, next < .max,
                operation.dependencies.count <= Limits.operationDependencies,
                !operation.flags.contains(.erased) || operation.body.count == SHA256.digestBytes
            else { return nil }
            next += 1
        }
        return batch.seal.sequence == next - 1 ? next - 1 : nil
    }

    /// Operations of `used` exist, or may exist, that this host does not hold: where it writes that epoch or an
    /// earlier one, it goes on above (swarm.md §1). No host comes to the last epoch by itself: a claim of it is void.
    private mutating func avoid(_ used: Origin) {
        guard used.node == origin.node, used.epoch >= origin.epoch, used.epoch < .max else { return }
        origin = Origin(node: origin.node, epoch: used.epoch + 1)
    }

    private mutating func advance(over operation: Operation) {
        let origin = operation.dot.origin
        let chain = Self.chain(chains[origin] ?? .empty, operation)
        applied[origin] = operation.dot.sequence
        chains[origin] = chain
        if trails[origin] == nil { trails[origin] = Trail(start: 0, chains: [.empty]) }
        trails[origin]?.chains.append(chain)
        if let count = trails[origin]?.chains.count, count > 2 * Self.trailLength {
            let length = longTrails.contains(origin) ? Self.longTrail : Self.trailLength
            if count > 2 * length { shortenTrail(of: origin, to: length) }
        }
    }

    private mutating func shortenTrail(of origin: Origin, to length: Int) {
        guard let count = trails[origin]?.chains.count, count > length else { return }
        trails[origin]?.chains.removeFirst(count - length)
        trails[origin]?.start += UInt64(count - length)
    }

    /// chain_n = SHA-256(chain_{n-1} ‖ SHA-256(op_n)); an erased operation carries the hash that it had
    /// (swarm.md §2, §4).
    package static func chain(_ previous: ChainHash, _ operation: Operation) -> ChainHash {
        ChainHash(SHA256.hash(previous.bytes + contentHash(of: operation)))
    }

    /// What is left of an operation when its content goes.
    package static func contentHash(of operation: Operation) -> [UInt8] {
        operation.flags.contains(.erased) ? operation.body : SHA256.hash(OperationCodec.encode(operation))
    }

    private func chain(at sequence: UInt64, of origin: Origin) -> ChainHash? {
        if sequence == 0 { return .empty }
        guard let trail = trails[origin], sequence >= trail.start, sequence - trail.start < trail.chains.count
        else { return nil }
        return trail.chains[Int(sequence - trail.start)]
    }

    /// A batch of what is here already: the same again, or another stream under the same name.
    private mutating func compare(_ batch: OperationBatch, from peer: NodeID, _ taking: inout Taking) {
        let head = batch.operations[0].dot.sequence - 1
        guard let before = chain(at: head, of: batch.origin),
            let ours = chain(at: batch.seal.sequence, of: batch.origin)
        else { return }
        let theirs = batch.operations.reduce(before, Self.chain)
        guard theirs != ours else { return }
        judge(batch, after: before, theirs, peer, &taking)
    }

    /// `batch` is not what is here: either its author signed it all the same, or somebody forged it.
    private mutating func judge(
        _ batch: OperationBatch, after before: ChainHash, _ theirs: ChainHash, _ peer: NodeID, _ taking: inout Taking
    ) {
        let origin = batch.origin
        guard scheme.vouches(batch.seal, for: theirs) else {
            taking.actions.append(
                .rejected(origin, sequence: batch.seal.sequence, after: trailStart(of: origin), by: peer))
            return
        }
        freeze(origin)
        var fork = LogHead(origin: origin, sequence: batch.operations[0].dot.sequence - 1, chain: before)
        for operation in batch.operations {
            let next = Self.chain(fork.chain, operation)
            guard chain(at: operation.dot.sequence, of: origin) == next else { break }
            fork.sequence = operation.dot.sequence
            fork.chain = next
        }
        var theirs = batch
        theirs.operations.removeAll { $0.dot.sequence <= fork.sequence }
        taking.actions.append(.equivocated(Equivocation(fork: fork, theirs: theirs)))
    }

    /// Its author signed two streams: nothing more is taken of it.
    package mutating func freeze(_ origin: Origin) {
        frozen.insert(origin)
        waiting.removeAll(of: origin)
        // Where somebody else writes this host's stream a copy of its disk is at work.
        avoid(origin)
    }

    /// All that waited and can be applied now, in an order in which each follows what it depends on.
    private mutating func takeWaiting(_ taking: inout Taking) {
        var progressed = !waiting.isEmpty
        while progressed {
            progressed = false
            for origin in waiting.origins where take(origin, &taking) { progressed = true }
        }
    }

    /// What waits of `origin`, as far as it can be applied. Returns whether anything was done.
    @discardableResult
    private mutating func take(_ origin: Origin, _ taking: inout Taking) -> Bool {
        var progressed = false
        while let entry = waiting.next(of: origin, after: applied[origin]) {
            if !entry.isVerified {
                guard verify(entry, &taking) else {
                    progressed = true
                    continue
                }
            }
            let done = apply(entry, &taking)
            if done > 0 { progressed = true }
            guard applied[origin] == entry.last else { return progressed }
            waiting.remove(entry, of: origin)
            seals[origin] = entry.batch.seal
            taking.advance.seals.append(entry.batch.seal)
            if !entry.isDivisible { taking.advance.whole.append(entry.batch) }
        }
        return progressed
    }

    /// Whether the batch, over what is here, is what its author signed; it is thrown away if not.
    private mutating func verify(_ entry: WaitingBatches.Entry, _ taking: inout Taking) -> Bool {
        let origin = entry.batch.origin
        let ours = head(of: origin)
        let fresh = entry.batch.operations.drop { $0.dot.sequence <= ours.sequence }
        if scheme.vouches(entry.batch.seal, for: fresh.reduce(ours.chain, Self.chain)) {
            waiting.trust(entry, of: origin)
            return true
        }
        waiting.remove(entry, of: origin)
        // With a chain hash from before its beginning it can be judged by itself.
        if entry.first <= ours.sequence, let before = chain(at: entry.first - 1, of: origin) {
            judge(entry.batch, after: before, entry.batch.operations.reduce(before, Self.chain), entry.peer, &taking)
        } else {
            taking.actions.append(
                .rejected(origin, sequence: entry.last, after: trailStart(of: origin), by: entry.peer))
        }
        return false
    }

    /// Applies what is ready of a verified batch. Returns how many operations that were.
    private mutating func apply(_ entry: WaitingBatches.Entry, _ taking: inout Taking) -> Int {
        let origin = entry.batch.origin
        let fresh = entry.batch.operations.drop { $0.dot.sequence <= applied[origin] }
        if !entry.isDivisible {
            let isReady = fresh.allSatisfy { operation in
                operation.dependencies.allSatisfy {
                    isMet($0) || $0.origin == origin && $0.sequence < operation.dot.sequence
                }
            }
            guard isReady else { return 0 }
        }
        var count = 0
        for operation in fresh {
            guard operation.dependencies.allSatisfy({ isMet($0) }) else { break }
            if count == 0 { avoid(origin) }
            if !clock.observe(operation.timestamp, milliseconds: taking.milliseconds) {
                taking.actions.append(.clockAhead(origin.node, milliseconds: operation.timestamp.milliseconds))
            }
            advance(over: operation)
            taking.advance.operations.append(operation)
            count += 1
        }
        return count
    }

    /// Of a frozen origin nothing more comes, and what is lost does not come back: nobody waits for it.
    private func isMet(_ dependency: Dot) -> Bool {
        applied.contains(dependency) || frozen.contains(dependency.origin)
            || forsaken[dependency.origin].map { $0 < dependency.sequence } == true
    }

    /// A pull for every origin whose next operation, or whose dependency, is not here; and for those of which
    /// something was dropped.
    private func gaps(_ dropped: Set<Origin>) -> [Action] {
        var after: [Origin: UInt64] = [:]
        for origin in dropped { after[origin] = reach(of: origin) }
        for origin in waiting.origins {
            let reach = reach(of: origin)
            if waiting.end(of: origin) > reach { after[origin] = reach }
            guard let next = waiting.peek(of: origin, after: applied[origin]) else { continue }
            for operation in next.batch.operations where operation.dot.sequence > applied[origin] {
                for dependency in operation.dependencies where !isMet(dependency) {
                    let reach = self.reach(of: dependency.origin)
                    if dependency.sequence > reach { after[dependency.origin] = reach }
                }
                if next.isDivisible { break }
            }
        }
        return after.sorted { $0.key < $1.key }.map { .pull(origin: $0.key, after: $0.value) }
    }
}
