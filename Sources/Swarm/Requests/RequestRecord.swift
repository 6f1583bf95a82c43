package import Core

/// A request as the notes that have arrived tell of it.
package struct RequestRecord: Hashable, Sendable {
    /// One host's word that it runs the request.
    package struct Attempt: Hashable, Sendable {
        package var number: Int
        package var node: NodeID
        package var instance: InstanceID
        package var note: Dot
        package var timestamp: HybridTimestamp
        package var began: HybridTimestamp?
    }

    package struct End: Hashable, Sendable {
        package var note: Dot
        package var timestamp: HybridTimestamp
    }

    package var request: Dot
    /// Where its notes stand.
    package var stream: StreamID
    package var opened: Dot
    package var openedAt: HybridTimestamp
    package var deadline: UInt64
    package var replicas: Int
    package var attempts: [Attempt]
    /// When and by whom it was given up.
    package var cancelled: End?
    /// The first result in hybrid order: the one that counts.
    package var ended: End?
    /// Results that came later, of hosts that did not know of one another.
    package var discarded: Set<Dot> = []

    /// The attempt that counts: the last; of several with one number, made where hosts did not see each other, the first.
    package var holder: Attempt? {
        attempts.min { ($1.number, $0.timestamp, $0.note) < ($0.number, $1.timestamp, $1.note) }
    }

    package var isOpen: Bool { ended == nil }

    mutating func add(_ attempt: Attempt) -> Bool {
        guard !attempts.contains(where: { $0.note == attempt.note }) else { return false }
        attempts.append(attempt)
        return true
    }

    /// Whether that changed which result counts.
    mutating func end(_ end: End) {
        guard let former = ended, former.note != end.note else {
            ended = end
            return
        }
        let isFirst = (end.timestamp, end.note) < (former.timestamp, former.note)
        discarded.insert(isFirst ? former.note : end.note)
        if isFirst { ended = end }
    }
}
