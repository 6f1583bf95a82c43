import Core

/// Batches that wait for a gap to close or for what they depend on. Bounded by origin and in all.
struct WaitingBatches: Sendable {
    struct Entry: Sendable {
        let number: UInt64
        let batch: OperationBatch
        let first: UInt64
        /// Who sent it.
        let peer: NodeID
        let isDivisible: Bool
        /// Its seal was checked over what is here.
        var isVerified = false
        let bytes: Int

        var last: UInt64 { batch.seal.sequence }
    }

    private var entries: [Origin: [Entry]] = [:]
    private var numbers: UInt64 = 0
    private(set) var bytes = 0

    var isEmpty: Bool { entries.isEmpty }
    var count: Int { entries.values.reduce(0) { $0 + $1.count } }
    var origins: [Origin] { entries.keys.sorted() }

    /// About what an operation takes while it waits.
    private static func size(of operation: Operation) -> Int {
        operation.body.count + 128 + 48 * operation.dependencies.count
    }

    /// Takes a batch that reaches above `applied`. False when a bound is reached.
    mutating func add(
        _ batch: OperationBatch, from peer: NodeID, isDivisible: Bool, after applied: UInt64
    ) -> Bool {
        guard let first = batch.operations.first?.dot.sequence else { return true }
        let own = entries[batch.origin] ?? []
        // What is here from somebody else may be forged: only the same peer's word makes a batch superfluous, or a
        // seal that was checked.
        let isKnown = own.contains {
            $0.first <= max(first, applied + 1) && $0.last >= batch.seal.sequence
                && ($0.isVerified || $0.peer == peer || $0.batch == batch)
        }
        guard !isKnown else { return true }
        let size = batch.operations.reduce(0) { $0 + Self.size(of: $1) }
        // The next one of its origin waits for another origin, if at all; without it nothing behind it could ever be
        // taken.
        let isNext = first <= applied + 1
        let operations = own.reduce(batch.operations.count) { $0 + $1.batch.operations.count }
        guard
            isNext && own.filter({ $0.first <= applied + 1 }).count < Self.nextLimit
                || bytes + size <= Limits.parkedBytes && operations <= Limits.parkedOperationsPerOrigin
                    && own.reduce(size, { $0 + $1.bytes }) <= Limits.parkedBytesPerOrigin
        else { return false }
        numbers &+= 1
        let entry = Entry(
            number: numbers, batch: batch, first: first, peer: peer, isDivisible: isDivisible, bytes: size)
        let place = own.firstIndex { $0.first > first } ?? own.count
        entries[batch.origin, default: []].insert(entry, at: place)
        bytes += size
        return true
    }

    /// Beyond so many that claim to be it, also the next one of an origin is refused.
    private static let nextLimit = 16

    /// The one that holds the operation after `applied`: one whose seal was checked before all others.
    mutating func next(of origin: Origin, after applied: UInt64) -> Entry? {
        guard let own = entries[origin] else { return nil }
        for entry in own where entry.last <= applied { remove(entry, of: origin) }
        return peek(of: origin, after: applied)
    }

    func peek(of origin: Origin, after applied: UInt64) -> Entry? {
        let candidates = (entries[origin] ?? []).lazy.filter { $0.first <= applied + 1 && $0.last > applied }
        return candidates.first { $0.isVerified } ?? candidates.first { _ in true }
    }

    /// The end of what is here without a gap above `applied`.
    func reach(of origin: Origin, from applied: UInt64) -> UInt64 {
        (entries[origin] ?? []).reduce(applied) { reach, entry in
            entry.first <= reach + 1 ? max(reach, entry.last) : reach
        }
    }

    func end(of origin: Origin) -> UInt64 { (entries[origin] ?? []).reduce(0) { max($0, $1.last) } }

    mutating func trust(_ entry: Entry, of origin: Origin) {
        guard let index = entries[origin]?.firstIndex(where: { $0.number == entry.number }) else { return }
        entries[origin]?[index].isVerified = true
    }

    /// What was checked must be checked again: what it was checked over is gone.
    mutating func distrust(_ origin: Origin) {
        for index in (entries[origin] ?? []).indices { entries[origin]?[index].isVerified = false }
    }

    mutating func remove(_ entry: Entry, of origin: Origin) {
        guard let index = entries[origin]?.firstIndex(where: { $0.number == entry.number }) else { return }
        entries[origin]?.remove(at: index)
        bytes -= entry.bytes
        if entries[origin]?.isEmpty == true { entries[origin] = nil }
    }

    /// Of what waits of `origin`, the one that came last. False where nothing does.
    mutating func removeLatest(of origin: Origin) -> Bool {
        guard let latest = entries[origin]?.max(by: { $0.number < $1.number }) else { return false }
        remove(latest, of: origin)
        return true
    }

    /// What begins beyond the operation after `sequence`.
    mutating func removeAll(of origin: Origin, above sequence: UInt64) {
        for entry in entries[origin] ?? [] where entry.first > sequence &+ 1 { remove(entry, of: origin) }
    }

    mutating func removeAll(of origin: Origin) {
        for entry in entries.removeValue(forKey: origin) ?? [] { bytes -= entry.bytes }
    }
}
