package import Core

/// The answers that this host stands by for, and when it takes one up. A machine: shells give it what happens and the
/// time, and do what it says.
///
/// Whoever writes an answer names those who stand by for it, in their order. The first of them that lives takes it up
/// once its writer is gone; the next one does so where the first, though it lives, has not said within
/// ``Limits/standbyTurn`` that the answer is its own now. A writer that lives and has lost its link says again within
/// ``Limits/standbyPatience`` what is stood by for; where it does not, it was started anew.
package struct StandbyTable: Sendable {
    private struct Entry {
        var writer: NodeID
        /// Those whose turn comes before this host's.
        var before: [NodeID]
        /// What of the answer is held.
        var bytes: Int
        var linkLost: Duration?
        var writerGone: Duration?
    }

    private let node: NodeID
    private var entries: [Dot: Entry] = [:]
    private var bytes = 0

    package init(node: NodeID) { self.node = node }

    package var isEmpty: Bool { entries.isEmpty }
    package var count: Int { entries.count }

    package func holds(_ question: Dot) -> Bool { entries[question] != nil }

    /// A host writes an answer and asks this one to stand by. False where there is no room.
    package mutating func stoodBy(
        for question: Dot, of writer: NodeID, standbys: [NodeID], bytes size: Int
    ) -> Bool {
        forget(question)
        guard entries.count < Limits.standbyAnswers, bytes + size <= Limits.standbyBytes else { return false }
        entries[question] = Entry(
            writer: writer, before: Array(standbys.prefix { $0 != node }), bytes: size)
        bytes += size
        return true
    }

    /// More of the answer has come. False where there is no room, and the answer is held no longer, or never was.
    package mutating func grew(_ question: Dot, of writer: NodeID, by size: Int) -> Bool {
        guard let entry = entries[question], entry.writer == writer else { return false }
        guard bytes + size <= Limits.standbyBytes else {
            forget(question)
            return false
        }
        entries[question]?.bytes += size
        bytes += size
        return true
    }

    /// The writer has come to the end, or nobody wants the answer any more.
    package mutating func released(_ question: Dot, by writer: NodeID) -> Bool {
        guard entries[question]?.writer == writer else { return false }
        forget(question)
        return true
    }

    /// The link on which the writer told of its answer is lost.
    package mutating func lostLink(_ question: Dot, of writer: NodeID, at now: Duration) {
        guard let entry = entries[question], entry.writer == writer, entry.linkLost == nil else { return }
        entries[question]?.linkLost = now
    }

    /// The answers that this host is to take up now; it stands by for them no longer.
    ///
    /// - Parameter living: the hosts of the swarm that are alive.
    package mutating func ticked(at now: Duration, living: Set<NodeID>) -> [Dot] {
        var due: [Dot] = []
        for (question, var entry) in entries {
            if living.contains(entry.writer) {
                entry.writerGone = nil
            } else {
                entry.writerGone = entry.writerGone ?? now
            }
            entries[question] = entry
            let turn = Limits.standbyTurn * entry.before.count { living.contains($0) }
            let gone = entry.writerGone.map { now - $0 >= turn } ?? false
            let silent = entry.linkLost.map { now - $0 >= Limits.standbyPatience + turn } ?? false
            if gone || silent { due.append(question) }
        }
        for question in due { forget(question) }
        // Their order shall not hang on that of a hash table.
        return due.sorted()
    }

    private mutating func forget(_ question: Dot) {
        guard let entry = entries.removeValue(forKey: question) else { return }
        bytes -= entry.bytes
    }
}
