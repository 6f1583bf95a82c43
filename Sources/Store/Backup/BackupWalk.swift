import Core

/// Goes over the rows of one state of the store, a few at a time, and opens each.
struct BackupWalk {
    private enum Table {
        case head
        case origins
        case streams
        case operations
        case seals
        case done
    }

    /// About so much in one step, so that other readers wait but milliseconds for their turn.
    private static let stepBytes = 512 * 1024
    private static let stepRows = 2_048

    private let reader: StoreReader
    private let version: String
    private var table = Table.head
    private var last: Int64 = 0
    private(set) var counts = ArchiveCounts()

    init(_ reader: StoreReader, version: String) {
        self.reader = reader
        self.version = version
    }

    /// The next records, at times none; nil at the end.
    mutating func step() throws(RuntimeError) -> [ArchiveRecord]? {
        switch table {
        case .head:
            let state = try reader.state()
            table = .origins
            return [.head(node: state.node, epoch: state.epoch, version: version)]
        case .origins:
            let rows = try reader.allOrigins()
            counts.origins = UInt64(rows.count)
            table = .streams
            return rows.map { .origin(index: $0.index, $0.origin, content: $0.encoded) }
        case .streams: return try rows(of: "SELECT id, sealed FROM streams", then: .operations, Self.stream)
        case .operations:
            return try rows(of: "SELECT id, sealed, kind, stream FROM operations", then: .seals, Self.operation)
        case .seals: return try rows(of: "SELECT id, sealed FROM seals", then: .done, Self.seal)
        case .done: return nil
        }
    }

    private mutating func rows(
        of select: String, then next: Table,
        _ open: (StoreReader, Row) throws(RuntimeError) -> ArchiveRecord?
    ) throws(RuntimeError) -> [ArchiveRecord] {
        var records: [ArchiveRecord] = []
        var bytes = 0
        var seen = 0
        try reader.database.scan(
            "\(select) WHERE id > ? ORDER BY id LIMIT ?", .integer(last), .integer(Int64(Self.stepRows))
        ) { row throws(RuntimeError) in
            last = row.integer(0)
            seen += 1
            do throws(RuntimeError) {
                if let record = try open(reader, row) {
                    records.append(record)
                    count(record)
                } else {
                    counts.left += 1
                }
            } catch {
                guard error.code == .corrupt else { throw error }
                counts.left += 1
            }
            bytes += row.count(1)
            return bytes < Self.stepBytes
        }
        if seen == 0 {
            table = next
            last = 0
            guard next != .done else { return [.end(counts)] }
        }
        return records
    }

    private mutating func count(_ record: ArchiveRecord) {
        switch record {
        case .stream: counts.streams += 1
        case .operation: counts.operations += 1
        case .seal: counts.seals += 1
        case .head, .origin, .end: break
        }
    }

    private static func stream(_ reader: StoreReader, _ row: Row) throws(RuntimeError) -> ArchiveRecord? {
        let index = row.integer(0)
        guard let content = reader.ring.open(row.blob(1), as: .stream(index)) else { return nil }
        _ = try StreamRow(content)
        return .stream(index: index, content: content)
    }

    private static func operation(_ reader: StoreReader, _ row: Row) throws(RuntimeError) -> ArchiveRecord? {
        let (id, index) = (row.integer(0), row.integer(3))
        guard let rawKind = UInt8(exactly: row.integer(2)) else { return nil }
        let kind = Operation.Kind(rawValue: rawKind)
        let place = RowPlace.operation(try reader.dot(at: id), kind, try reader.stream(at: index))
        guard let content = reader.ring.open(row.blob(1), as: place) else { return nil }
        return .operation(id: id, kind: kind, stream: index, content: content)
    }

    private static func seal(_ reader: StoreReader, _ row: Row) throws(RuntimeError) -> ArchiveRecord? {
        let id = row.integer(0)
        guard let signature = reader.ring.open(row.blob(1), as: .seal(try reader.dot(at: id))),
            signature.count == BatchSeal.signatureBytes
        else { return nil }
        return .seal(id: id, signature: signature)
    }
}
