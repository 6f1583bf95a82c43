package import Core
package import Swarm

/// What happens to the log, for the swarm's shell and for whoever listens.
package enum LogNotice: Sendable {
    /// Conversations that turns were added to, here or elsewhere; as they are now.
    case updated([ConversationHeader])
    /// Conversations of which nothing is left.
    case removed([StreamID])
    case replication(Replication.Notice)
    /// This host is far behind `from`: fetch a snapshot there, hand its batches to
    /// ``LogWriter/receivedSnapshot(_:from:)``, then call ``LogWriter/snapshotEnded(from:isWhole:)``.
    case snapshotWanted(from: NodeID)
}

/// The operations that the store took last, for those who keep views in memory. Bounded; the oldest go.
struct LogNews: Sendable {
    private var operations: [Operation] = []
    private var start: UInt64 = 0
    private var bytes = 0

    private static let countLimit = 8_192
    private static let byteLimit = 8 * 1024 * 1024

    /// The number after the last.
    var end: UInt64 { start + UInt64(operations.count) }

    mutating func add(_ new: [Operation]) {
        operations += new
        bytes += new.reduce(0) { $0 + $1.body.count }
        guard operations.count > Self.countLimit || bytes > Self.byteLimit else { return }
        var count = 0
        while count < operations.count, operations.count - count > Self.countLimit / 2 || bytes > Self.byteLimit / 2 {
            bytes -= operations[count].body.count
            count += 1
        }
        operations.removeFirst(count)
        start += UInt64(count)
    }

    /// What was kept in memory may not be what the store holds: it is read again.
    mutating func forget() {
        start = end + 1
        operations = []
        bytes = 0
    }

    /// Those from `number` on; nil where some of them have gone.
    func since(_ number: UInt64) -> [Operation]? {
        guard number >= start, number <= end else { return nil }
        return Array(operations.dropFirst(Int(number - start)))
    }
}
