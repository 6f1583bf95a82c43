/// A host's chain of audit entries: each names the hash of the one before, so that none can be changed, left out or put
/// in without breaking the next (Schneier and Kelsey, "Secure Audit Logs to Support Computer Forensics", 1999; here the
/// log's signatures take the place of their evolving key). A pure machine.
package struct AuditChain: Sendable {
    package static let beginning = [UInt8](repeating: 0, count: 32)

    /// Of the last entry.
    package private(set) var number: UInt64
    private var hash: [UInt8]

    package init(after last: AuditEntry? = nil) {
        number = last?.number ?? 0
        hash = last?.hash ?? Self.beginning
    }

    package mutating func append(_ event: AuditEvent, count: UInt64, milliseconds: UInt64) -> AuditEntry {
        number &+= 1
        let entry = AuditEntry(
            number: number, previous: hash, milliseconds: milliseconds, count: count, event: event)
        hash = entry.hash
        return entry
    }

    /// The first link that does not hold.
    package struct Break: Hashable, Sendable {
        /// Of the entry that should stand there.
        package var number: UInt64
        package var reason: String
    }

    /// - Parameters:
    ///   - entries: in the order in which they were written; nil for one whose row does not open any more.
    package static func firstBreak(in entries: [AuditEntry?]) -> Break? {
        var chain = AuditChain()
        for entry in entries {
            let expected = chain.number &+ 1
            guard let entry else { return Break(number: expected, reason: "it does not open") }
            guard entry.number == expected else {
                return Break(
                    number: expected,
                    reason: entry.number > expected
                        ? "it is gone; \(entry.number) follows" : "\(entry.number) stands in its place")
            }
            guard entry.previous == chain.hash else {
                return Break(number: expected, reason: "it does not follow the one before it, as that is now")
            }
            chain = AuditChain(after: entry)
        }
        return nil
    }
}
