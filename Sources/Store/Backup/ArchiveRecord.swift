package import Core

/// One thing that a backup says: the store's rows with their seals open, so that the archive depends on no key of the
/// store it came from, nor on its tables.
///
///     type u8 | length varint | content
package enum ArchiveRecord: Hashable, Sendable {
    /// Always the first: who wrote the store, in which epoch, and by which version.
    case head(node: NodeID, epoch: UInt32, version: String)
    /// An ``OriginRow``'s content.
    case origin(index: Int64, Origin, content: [UInt8])
    /// A ``StreamRow``'s content.
    case stream(index: Int64, content: [UInt8])
    /// An ``OperationRow``'s content.
    case operation(id: Int64, kind: Operation.Kind, stream: Int64, content: [UInt8])
    case seal(id: Int64, signature: [UInt8])
    /// Always the last: what came before, and how many rows no longer opened and were left out.
    case end(ArchiveCounts)

    /// The longest content: an operation's body and what belongs to it.
    static let contentBytes = Limits.operationBodyBytes + 1024 * 1024

    package func encode(into writer: inout ByteWriter) {
        var content = ByteWriter()
        let type: UInt8
        switch self {
        case .head(let node, let epoch, let version):
            type = 1
            content.put(node.bytes)
            content.put(bigEndian: epoch)
            content.put(raw: Array(version.utf8))
        case .origin(let index, let origin, let row):
            type = 2
            content.put(bigEndian: index)
            content.put(origin.node.bytes)
            content.put(bigEndian: origin.epoch)
            content.put(raw: row)
        case .stream(let index, let row):
            type = 3
            content.put(bigEndian: index)
            content.put(raw: row)
        case .operation(let id, let kind, let stream, let row):
            type = 4
            content.reserve(17 + row.count)
            content.put(bigEndian: id)
            content.put(kind.rawValue)
            content.put(bigEndian: stream)
            content.put(raw: row)
        case .seal(let id, let signature):
            type = 5
            content.put(bigEndian: id)
            content.put(raw: signature)
        case .end(let counts):
            type = 6
            for count in [counts.origins, counts.streams, counts.operations, counts.seals, counts.left] {
                content.put(varint: count)
            }
        }
        writer.put(type)
        writer.put(lengthPrefixed: content.bytes)
    }

    package init(type: UInt8, content: [UInt8]) throws(RuntimeError) {
        var reader = ByteReader(content)
        switch type {
        case 1:
            let (node, epoch) = (NodeID(try reader.bytes16()), try reader.bigEndian32())
            guard let version = String(validating: reader.rest(), as: UTF8.self), version.utf8.count <= 100 else {
                throw RuntimeError(.corrupt, "the backup names a version that cannot be one")
            }
            self = .head(node: node, epoch: epoch, version: version)
        case 2:
            let index = try reader.row()
            let origin = Origin(node: NodeID(try reader.bytes16()), epoch: try reader.bigEndian32())
            self = .origin(index: index, origin, content: reader.rest())
        case 3: self = .stream(index: try reader.row(), content: reader.rest())
        case 4:
            let (id, kind) = (try reader.row(), Operation.Kind(rawValue: try reader.byte()))
            self = .operation(id: id, kind: kind, stream: try reader.row(), content: reader.rest())
        case 5: self = .seal(id: try reader.row(), signature: reader.rest())
        case 6:
            self = .end(
                ArchiveCounts(
                    origins: try reader.varint(), streams: try reader.varint(), operations: try reader.varint(),
                    seals: try reader.varint(), left: try reader.varint()))
            try reader.expectEnd()
        default:
            throw RuntimeError(.configuration, "the backup was made by a newer version of igris-runtime (row \(type))")
        }
    }
}

/// How many rows of each kind.
package struct ArchiveCounts: Hashable, Sendable {
    package var origins: UInt64 = 0
    package var streams: UInt64 = 0
    package var operations: UInt64 = 0
    package var seals: UInt64 = 0
    /// Rows that no longer opened when the backup was made, and are not in it.
    package var left: UInt64 = 0

    package var rows: UInt64 { origins &+ streams &+ operations &+ seals }
}

extension ByteReader {
    /// A row's number.
    fileprivate mutating func row() throws(RuntimeError) -> Int64 {
        guard let number = Int64(exactly: try bigEndian64()), number > 0 else {
            throw RuntimeError(.corrupt, "the backup numbers a row as none can be")
        }
        return number
    }
}
