package import Core

/// What a backup holds.
package struct ArchiveSummary: Hashable, Sendable {
    package var node = NodeID(Bytes16(high: 0, low: 0))
    package var epoch: UInt32 = 0
    package var version = ""
    /// Conversations that are shown.
    package var conversations: UInt64 = 0
    package var counts = ArchiveCounts()
}

/// Takes an archive's records in their order, and proves of each that it is what it says: every row opens as the store
/// itself would open it, and belongs to others that are there.
package struct ArchiveCheck: Sendable {
    /// A record as rows of a store.
    enum Row {
        case head
        case origin(OriginRow)
        case stream(Int64, StreamRow)
        case operation(OperationRow, id: Int64, stream: Int64, content: [UInt8])
        case seal(Dot, id: Int64, signature: [UInt8])
        case end
    }

    /// Streams that are told apart; each takes some thirty bytes of memory.
    private static let streams = 1 << 24

    package private(set) var summary = ArchiveSummary()
    private var origins: [Int64: Origin] = [:]
    private var streams: [Int64: StreamID] = [:]
    private var last: Int64 = 0
    private var hasBegun = false
    private var hasEnded = false

    package init() {}

    /// Throws `.corrupt` where a record cannot be.
    @discardableResult
    mutating func take(_ record: ArchiveRecord) throws(RuntimeError) -> Row {
        guard !hasEnded else { throw RuntimeError(.corrupt, "rows follow the backup's end") }
        if case .head(let node, let epoch, let version) = record {
            guard !hasBegun else { throw RuntimeError(.corrupt, "the backup begins twice") }
            hasBegun = true
            (summary.node, summary.epoch, summary.version) = (node, epoch, version)
            return .head
        }
        guard hasBegun else { throw RuntimeError(.corrupt, "the backup's beginning is missing") }
        switch record {
        case .head: return .head
        case .origin(let index, let origin, let content):
            guard index < Limits.storeOrigins, origins.updateValue(origin, forKey: index) == nil else {
                throw Self.misplaced("an origin", index)
            }
            summary.counts.origins += 1
            return .origin(try OriginRow(content, index: index, origin: origin))
        case .stream(let index, let content):
            let row = try StreamRow(content)
            guard streams.count < Self.streams, streams.updateValue(row.stream, forKey: index) == nil else {
                throw Self.misplaced("a conversation", index)
            }
            summary.counts.streams += 1
            if row.header != nil { summary.conversations += 1 }
            return .stream(index, row)
        case .operation(let id, let kind, let stream, let content):
            guard let id = follow(id), let name = streams[stream] else { throw Self.misplaced("an operation", id) }
            let row = try OperationRow(content, dot: try dot(id), kind: kind, stream: name) {
                index throws(RuntimeError) in
                guard let origin = origins[index] else { throw Self.misplaced("an operation", id) }
                return origin
            }
            summary.counts.operations += 1
            return .operation(row, id: id, stream: stream, content: content)
        case .seal(let id, let signature):
            if summary.counts.seals == 0 { last = 0 }
            guard let id = follow(id), signature.count == BatchSeal.signatureBytes else {
                throw Self.misplaced("a seal", id)
            }
            summary.counts.seals += 1
            return .seal(try dot(id), id: id, signature: signature)
        case .end(let counts):
            var found = summary.counts
            found.left = counts.left
            guard found == counts else {
                throw RuntimeError(
                    .corrupt, "the backup holds \(found.rows) rows and speaks of \(counts.rows): it is not whole")
            }
            summary.counts = counts
            hasEnded = true
            return .end
        }
    }

    /// After the last record. Throws `.corrupt` where the end is missing.
    package func finish() throws(RuntimeError) -> ArchiveSummary {
        guard hasEnded else { throw RuntimeError(.corrupt, "the backup's end is missing") }
        return summary
    }

    /// Rows come in the order of their numbers.
    private mutating func follow(_ id: Int64) -> Int64? {
        guard id > last else { return nil }
        last = id
        return id
    }

    private func dot(_ id: Int64) throws(RuntimeError) -> Dot {
        let sequence = RowNumber.sequence(id)
        guard sequence > 0, let origin = origins[id >> Limits.sequenceBits] else {
            throw Self.misplaced("an operation", id)
        }
        return Dot(origin: origin, sequence: sequence)
    }

    private static func misplaced(_ what: String, _ number: Int64) -> RuntimeError {
        RuntimeError(.corrupt, "the backup has \(what) that belongs nowhere (row \(number))")
    }
}
