// Who runs the requests that were given to the swarm to be answered in the background, so that each ends with one
// result, whichever hosts die meanwhile.
//
// The host that takes a request from its client runs it: its client watches it there. What it needs stands in the
// replicated log before the client has the request's id. Where the runner is gone (dead, said goodbye, or started again
// without the run), the owner of the request's id on the ring of living hosts takes it over with an attempt of the next
// number, and says that in the log before it begins: what the first runner did is not known, so that this is an honest
// rerun and no continuation. Of attempts made on two sides of a split the higher number counts, of equal ones the
// earlier; whoever runs another gives it up once it hears of that. Should two have come to a result all the same, the
// first in hybrid order counts on every host (as in Lamport 1978: a total order that everyone computes alike), and the
// other is discarded.
//
// Bounds: `limit` records; open ones are never dropped, so that what opens requests is bounded instead.

package import Core

/// A pure machine: notes of the log, members and time in, effects out.
package struct RequestKeeper: Sendable {
    package enum Stop: Hashable, Sendable {
        /// Another attempt counts, or another result.
        case superseded
        case cancelled
        case expired
    }

    package enum Effect: Hashable, Sendable {
        /// Begin to answer it. What comes of it is written with an `ended` note.
        case run(Dot, attempt: Int)
        /// End the run; where it was cancelled or expired, that is its result.
        case stop(Dot, Stop)
        /// Write a `taken` note.
        case take(Dot, attempt: Int)
        /// Write a result without a run.
        case end(Dot, Ending)
    }

    package enum Ending: Hashable, Sendable {
        case cancelled
        case expired
        /// Too many hosts were lost over it.
        case abandoned
    }

    package struct Tuning: Sendable {
        /// So long after its start a host takes nothing over: it does not know yet what there is.
        package var settling = Duration.seconds(3)
        /// A host must be gone for so long.
        package var patience = Duration.milliseconds(500)
        /// A request that brings down host after host is given up.
        package var attempts = 5
        /// What was asked for is written, or asked for once more after this.
        package var repetition = Duration.seconds(5)
        /// Records kept, those that are over included.
        package var limit = 4_096

        package init() {}
    }

    package let node: NodeID
    package let instance: InstanceID
    private let tuning: Tuning
    private var records: [Dot: RequestRecord] = [:]
    private var living: Set<NodeID>
    private var ring: HashRing
    /// Since when hosts that run something are not there.
    private var missing: [NodeID: Duration] = [:]
    private var running: Set<Dot> = []
    /// What was asked of the shell, and when.
    private var asked: [Dot: Duration] = [:]
    private var start: Duration?

    package init(node: NodeID, instance: InstanceID, tuning: Tuning = Tuning()) {
        self.node = node
        self.instance = instance
        self.tuning = tuning
        living = [node]
        ring = HashRing([node])
    }

    package func record(_ request: Dot) -> RequestRecord? { records[request] }

    package var open: Int { records.values.count(where: \.isOpen) }

    package func isRunning(_ request: Dot) -> Bool { running.contains(request) }

    /// The host that is to run a request, and those after it.
    package func owners(of key: UInt64, count: Int) -> [NodeID] { ring.owners(of: key, count: count) }

    // MARK: - Events

    /// Notes came from the log, this host's own or another's; one that came before changes nothing.
    package mutating func noted(_ operations: [Operation], at now: Duration, wall: UInt64) -> [Effect] {
        var touched: Set<Dot> = []
        for operation in operations where operation.kind == .request {
            // One that cannot be read says nothing to this version.
            guard let note = try? RequestNote.decode(operation.body) else { continue }
            if let request = take(note, operation) { touched.insert(request) }
        }
        forgetOldest()
        return touched.sorted().flatMap { decide($0, at: now, wall: wall) }
    }

    /// Who lives, this host or not.
    package mutating func members(_ nodes: Set<NodeID>, at now: Duration, wall: UInt64) -> [Effect] {
        let nodes = nodes.union([node])
        guard nodes != living else { return [] }
        for gone in living.subtracting(nodes) { missing[gone] = now }
        for back in nodes.subtracting(living) { missing[back] = nil }
        living = nodes
        ring = HashRing(nodes)
        return all(at: now, wall: wall)
    }

    /// Time has passed: to be called a few times a second.
    package mutating func ticked(at now: Duration, wall: UInt64) -> [Effect] { all(at: now, wall: wall) }

    /// A run has ended, with a result that was written or without one.
    package mutating func ranOut(_ request: Dot) {
        running.remove(request)
        asked[request] = nil
    }

    private mutating func take(_ note: RequestNote, _ operation: Operation) -> Dot? {
        if note.kind == .opened {
            guard let request = operation.dependencies.first, records[request] == nil else { return nil }
            let first = RequestRecord.Attempt(
                number: 1, node: operation.dot.origin.node, instance: note.instance, note: operation.dot,
                timestamp: operation.timestamp)
            records[request] = RequestRecord(
                request: request, stream: operation.stream, opened: operation.dot, openedAt: operation.timestamp,
                deadline: note.deadline, replicas: note.replicas, attempts: [first])
            return request
        }
        guard let request = note.request, records[request]?.stream == operation.stream else { return nil }
        let end = RequestRecord.End(note: operation.dot, timestamp: operation.timestamp)
        switch note.kind {
        case .opened: return nil
        case .taken:
            // A note claims no number that its bound forbids.
            guard (2...tuning.attempts).contains(note.attempt),
                records[request]?.add(
                    RequestRecord.Attempt(
                        number: note.attempt, node: operation.dot.origin.node, instance: note.instance,
                        note: operation.dot, timestamp: operation.timestamp)) == true
            else { return nil }
            asked[request] = nil
        case .began:
            let index = records[request]?.attempts.lastIndex {
                $0.number == note.attempt && $0.node == operation.dot.origin.node
            }
            if let index { records[request]?.attempts[index].began = operation.timestamp }
        case .cancelled: if records[request]?.cancelled == nil { records[request]?.cancelled = end }
        case .ended: records[request]?.end(end)
        }
        return request
    }

    // MARK: - Decisions

    private mutating func all(at now: Duration, wall: UInt64) -> [Effect] {
        if start == nil { start = now }
        return records.values.filter(\.isOpen).map(\.request).sorted().flatMap { decide($0, at: now, wall: wall) }
    }

    private mutating func decide(_ request: Dot, at now: Duration, wall: UInt64) -> [Effect] {
        if start == nil { start = now }
        guard let record = records[request], let holder = record.holder else { return [] }
        let isRunning = running.contains(request)
        guard record.isOpen else {
            asked[request] = nil
            return isRunning ? [.stop(request, .superseded)] : []
        }
        let isOurs = holder.node == node && holder.instance == instance
        if isRunning {
            guard isOurs else { return [.stop(request, .superseded)] }
            if record.cancelled != nil { return [.stop(request, .cancelled)] }
            return record.deadline <= wall ? [.stop(request, .expired)] : []
        }
        guard isOurs || isVacant(holder, at: now) && isNext(request, holder) else { return [] }
        // What was asked for is on its way.
        if let before = asked[request], now - before < tuning.repetition { return [] }
        asked[request] = now
        if record.cancelled != nil { return [.end(request, .cancelled)] }
        if record.deadline <= wall { return [.end(request, .expired)] }
        if isOurs {
            running.insert(request)
            return [.run(request, attempt: holder.number)]
        }
        guard holder.number < tuning.attempts else { return [.end(request, .abandoned)] }
        return [.take(request, attempt: holder.number + 1)]
    }

    /// Nobody runs it any more, as far as can be told.
    private func isVacant(_ holder: RequestRecord.Attempt, at now: Duration) -> Bool {
        guard let start, now - start >= tuning.settling else { return false }
        // This host was started again, and knows nothing of the run.
        if holder.node == node { return true }
        guard !living.contains(holder.node) else { return false }
        return now - (missing[holder.node] ?? start) >= tuning.patience
    }

    private func isNext(_ request: Dot, _ holder: RequestRecord.Attempt) -> Bool {
        holder.node == node || ring.owners(of: RequestName.key(request), count: 1).first == node
    }

    private mutating func forgetOldest() {
        guard records.count > tuning.limit else { return }
        let over = records.values.filter { !$0.isOpen && !running.contains($0.request) }
        let most = records.count - tuning.limit / 4 * 3
        for record in over.sorted(by: { $0.openedAt < $1.openedAt }).prefix(most) { records[record.request] = nil }
    }
}
