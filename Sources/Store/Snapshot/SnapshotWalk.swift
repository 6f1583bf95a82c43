import Core

/// The order in which a snapshot tells the log: batches by the time of their first operation, but each after those
/// that it depends on where that can be. Two hosts that answered each other within one batch cannot both be first;
/// then the receiver lets a part of one batch wait for the other.
///
/// It goes over what was sealed when it began, whatever is written meanwhile: the log only grows, and content that is
/// erased while it is at work is left out.
struct SnapshotWalk: Sendable {
    /// Short batches make short waits at the receiver.
    static let bounds = StoreReader.BatchBounds(operations: Limits.checkpointOperations, bytes: 256 * 1024)

    /// How far it has come.
    private(set) var vector = VersionVector()
    /// Where each stream ends.
    private var ends: [Origin: BatchSeal] = [:]
    /// When the next batch of each origin begins; those at their end are left out.
    private var next: [Origin: HybridTimestamp] = [:]
    /// Batches that wait for those above them.
    private var stack: [OperationBatch] = []

    init(_ reader: StoreReader) throws(RuntimeError) {
        for row in try reader.allOrigins() {
            guard let seal = row.seal else { continue }
            ends[row.origin] = seal
            try look(at: row.origin, reader)
        }
    }

    /// The next batch; nil at the end.
    mutating func step(_ reader: StoreReader) throws(RuntimeError) -> OperationBatch? {
        while stack.isEmpty {
            guard let first = next.min(by: { ($0.value, $0.key) < ($1.value, $1.key) }) else { return nil }
            try push(first.key, reader)
        }
        while let top = stack.last, let needed = unmet(of: top) { try push(needed, reader) }
        return stack.popLast()
    }

    /// Loads an origin's next batch on top. One that has none that can be read is at its end.
    private mutating func push(_ origin: Origin, _ reader: StoreReader) throws(RuntimeError) {
        do {
            guard
                let batch = try reader.batch(
                    of: origin, after: vector[origin], upTo: ends[origin], bounds: Self.bounds)
            else {
                next[origin] = nil
                return
            }
            vector[origin] = batch.seal.sequence
            stack.append(batch)
            try look(at: origin, reader)
        } catch {
            guard error.code == .corrupt else { throw error }
            // The stream ends before what is damaged here; the receiver has the rest from others.
            next[origin] = nil
        }
    }

    /// When the origin's next operation was written.
    private mutating func look(at origin: Origin, _ reader: StoreReader) throws(RuntimeError) {
        next[origin] = nil
        guard let end = ends[origin], vector[origin] < end.sequence else { return }
        do {
            next[origin] = try reader.operations(of: origin, after: vector[origin], limit: 1).first?.timestamp
        } catch {
            guard error.code == .corrupt else { throw error }
        }
    }

    /// An origin of which `batch` needs more than was told, and more can be.
    private func unmet(of batch: OperationBatch) -> Origin? {
        for operation in batch.operations {
            for dependency in operation.dependencies
            where dependency.origin != batch.origin && next[dependency.origin] != nil
                && !vector.contains(dependency) && !stack.contains(where: { $0.origin == dependency.origin })
            {
                return dependency.origin
            }
        }
        return nil
    }
}
