internal import Core

/// What this host's disk refused, in memory until it takes it.
///
/// - Its own, once a peer has confirmed it: a client may have been told that it is safe, on two hosts. It goes into the
///   epoch that this host has left.
/// - Others' batches: whoever sent them may be gone by now, and with the sender the only seal over them.
extension Replication {
    struct Salvage: Sendable {
        var batch: OperationBatch
        /// Until then somebody may still confirm it; nil where it is kept anyway.
        var until: Duration?
    }

    /// A client waits two seconds for word from peers after a refusal.
    private static let confirmation = Duration.seconds(5)

    mutating func salvage(own batches: [OperationBatch], _ turn: inout Turn) {
        salvage(batches.map { Salvage(batch: $0, until: turn.now + Self.confirmation) }, &turn)
    }

    mutating func salvage(_ advance: OperationLog.Advance, _ turn: inout Turn) {
        salvage(advance.batches.map { Salvage(batch: $0) }, &turn)
    }

    private mutating func salvage(_ entries: [Salvage], _ turn: inout Turn) {
        var known = Set(salvaged.map(\.batch.end))
        for entry in entries where entry.batch.seal.sequence > vector[entry.batch.origin] {
            guard known.insert(entry.batch.end).inserted else { continue }
            guard salvagedBytes + entry.batch.size <= Limits.backlogBytes else { break }
            salvagedBytes += entry.batch.size
            salvaged.append(entry)
        }
        guard !salvaged.isEmpty else { return }
        // A disk that stays full is not asked every second to take all of it.
        salvageDue = turn.now + Timing.refusal * (1 << min(2, refusals))
        refusals += 1
    }

    mutating func pursueSalvage(_ turn: inout Turn) {
        guard let due = salvageDue else { return }
        guard turn.now >= due else { return turn.wake(at: due) }
        salvaged = salvaged.filter { entry in
            let batch = entry.batch
            return vector[batch.origin] < batch.seal.sequence && !log.frozen.contains(batch.origin)
                && (entry.until.map { turn.now <= $0 } ?? true || isConfirmed(batch))
        }
        salvagedBytes = salvaged.reduce(0) { $0 + $1.batch.size }
        salvageDue = salvaged.isEmpty ? nil : turn.now + Timing.refusal
        if let salvageDue { turn.wake(at: salvageDue) }
        let batches = salvaged.filter { $0.until == nil || isConfirmed($0.batch) }.map(\.batch)
            .filter { $0.seal.sequence > log.reach(of: $0.origin) }
        guard !batches.isEmpty else { return }
        let actions = log.received(
            batches, from: log.origin.node, isDivisible: true, milliseconds: turn.wallClock)
        take(actions, from: nil, &turn)
    }

    private func isConfirmed(_ batch: OperationBatch) -> Bool {
        members.values.contains { $0.stored[batch.origin] >= batch.seal.sequence }
    }
}

extension OperationBatch {
    fileprivate var end: Dot { Dot(origin: origin, sequence: seal.sequence) }
    fileprivate var size: Int { operations.reduce(0) { $0 + $1.body.count + 128 } }
}

extension OperationLog.Advance {
    /// What its seals cover, as a store would give it: in few batches, each of which is proven by one seal.
    fileprivate var batches: [OperationBatch] {
        var rest = Dictionary(grouping: operations, by: \.dot.origin).mapValues { $0[...] }
        var batches: [OperationBatch] = []
        var latest: [Origin: Int] = [:]
        for seal in seals {
            guard let own = rest[seal.origin] else { continue }
            let covered = own.prefix { $0.dot.sequence <= seal.sequence }
            guard !covered.isEmpty else { continue }
            rest[seal.origin] = own.dropFirst(covered.count)
            if let place = latest[seal.origin],
                batches[place].operations.count + covered.count <= Limits.batchOperations
            {
                batches[place].operations += covered
                batches[place].seal = seal
            } else {
                latest[seal.origin] = batches.count
                batches.append(OperationBatch(operations: Array(covered), seal: seal))
            }
        }
        return batches
    }
}
