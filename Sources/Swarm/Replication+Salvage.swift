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
        for entry in entries where entry.batch.seal.sequence > vector[entry.batch.origin] {
            let isKnown = salvaged.contains {
                $0.batch.origin == entry.batch.origin && $0.batch.seal.sequence == entry.batch.seal.sequence
            }
            guard !isKnown else { continue }
            guard salvagedBytes + entry.batch.size <= Limits.backlogBytes else { break }
            salvagedBytes += entry.batch.size
            salvaged.append(entry)
        }
        if !salvaged.isEmpty { salvageDue = turn.now + Timing.refusal }
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
    fileprivate var size: Int { operations.reduce(0) { $0 + $1.body.count + 128 } }
}

extension OperationLog.Advance {
    /// What its seals cover, as a store would give it.
    fileprivate var batches: [OperationBatch] {
        var rest = Dictionary(grouping: operations, by: \.dot.origin)
        return seals.compactMap { seal in
            guard let own = rest[seal.origin] else { return nil }
            let covered = own.prefix { $0.dot.sequence <= seal.sequence }
            rest[seal.origin] = Array(own.dropFirst(covered.count))
            return covered.isEmpty ? nil : OperationBatch(operations: Array(covered), seal: seal)
        }
    }
}
