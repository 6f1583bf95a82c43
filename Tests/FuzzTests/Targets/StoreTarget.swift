import Core
import Cryptography
import Swarm

@testable import Store

/// What lies on a disk, or came as a copy of what did: rows as they are once their seal is open, records that somebody
/// else sealed, files beside the store, snapshots. The first byte chooses which.
enum StoreTarget {
    private static let origin = Origin(node: NodeID(Bytes16(high: 1, low: 2)), epoch: 3)
    private static let place = RowPlace.state
    private static let ring = try? KeyRing(
        store: Bytes16(high: 5, low: 6), keys: [1: SymmetricKey([UInt8](repeating: 9, count: 32))])

    static func run(_ bytes: [UInt8]) throws(Broken) {
        let (number, rest) = bytes.choice(of: 15)
        switch number {
        case 0: try operationRow(rest)
        case 1:
            guard let row = try? OriginRow(rest, index: 1, origin: origin) else { return }
            let again = try? OriginRow(row.encoded, index: 1, origin: origin)
            try hold(again?.encoded == row.encoded, "an origin's row is not written as read")
        case 2:
            guard let row = try? StoreState(rest) else { return }
            try hold((try? StoreState(row.encoded))?.encoded == row.encoded, "the state is not written as read")
        case 3:
            guard let row = try? StreamRow(rest) else { return }
            try hold((try? StreamRow(row.encoded))?.encoded == row.encoded, "a stream's row is not written as read")
        case 4: try hold(ring?.open(rest, as: place) == nil, "a record opens that was not sealed")
        case 5:
            guard let operation = try? OperationCodec.decode(rest) else { return }
            try hold(
                (try? OperationCodec.decode(OperationCodec.encode(operation))) == operation,
                "an operation is not written as read")
        case 6:
            guard let batch = try? OperationBatchCodec.decode(rest) else { return }
            try hold(
                (try? OperationBatchCodec.decode(OperationBatchCodec.encode(batch))) == batch,
                "a batch is not written as read")
        case 7:
            guard let turn = try? TurnCodec.decodeTurn(rest) else { return }
            try hold((try? TurnCodec.decodeTurn(TurnCodec.encode(turn))) == turn, "a turn is not written as read")
        case 8:
            guard let meta = try? TurnCodec.decodeMeta(rest) else { return }
            let written = TurnCodec.encode(meta)
            try hold(
                (try? TurnCodec.decodeMeta(written)).map(TurnCodec.encode) == written, "a note is not written as read")
        case 9:
            guard let manifest = try? SnapshotManifest(decoding: rest) else { return }
            try hold(
                (try? SnapshotManifest(decoding: manifest.encoded))?.encoded == manifest.encoded,
                "a manifest is not written as read")
            guard var reader = try? SnapshotReader(manifest) else { return }
            _ = reader.next()
            _ = try? reader.received(rest)
        case 10: try snapshot(rest)
        case 12:
            guard let header = try? ArchiveHeader(rest) else { return }
            try hold(
                header.encoded == Array(rest.prefix(ArchiveHeader.bytes)), "a backup's head is not written as read")
        case 13: try strangeArchive(rest)
        case 14: try archive(rest)
        default:
            var reader = ByteReader(rest)
            guard let model = try? reader.hostedModel() else { return }
            var writer = ByteWriter()
            writer.put(model)
            var again = ByteReader(writer.bytes)
            try hold((try? again.hostedModel()) == model, "a model is not written as read")
        }
    }

    private static let sealed = try? ArchiveHeader.make(
        for: .swarmKey(SwarmKeys(SymmetricKey([UInt8](repeating: 3, count: 32)))), at: 1)

    private static func reader(_ bytes: [UInt8]) -> ArchiveReader? {
        var rest = bytes[...]
        guard let sealed else { return nil }
        return try? ArchiveReader(sealed.header, key: sealed.key) { count in
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
    }

    /// Chunks that nobody sealed.
    private static func strangeArchive(_ bytes: [UInt8]) throws(Broken) {
        guard var reader = reader(bytes) else { return }
        try hold((try? reader.next()) == nil, "a chunk of a backup opens that was not sealed")
    }

    /// An archive whose key is right: what is in it is its maker's.
    private static func archive(_ bytes: [UInt8]) throws(Broken) {
        guard let sealed, bytes.count <= ArchiveChunk.contentBytes else { return }
        let aad = ArchiveChunk.associatedData(sealed.header.digest, 0, isLast: true)
        guard let chunk = try? AESGCM.seal(bytes, key: sealed.key, aad: aad),
            var reader = reader([0, 0, 0, 0] + chunk)
        else { throw Broken("a chunk of a backup cannot be sealed") }
        var check = ArchiveCheck()
        while let record = try? reader.next() {
            var writer = ByteWriter()
            record.encode(into: &writer)
            var parts = ByteReader(writer.bytes)
            guard let type = try? parts.byte(), let content = try? parts.lengthPrefixed(atMost: bytes.count) else {
                throw Broken("a backup's row is longer written than read")
            }
            try hold(
                (try? ArchiveRecord(type: type, content: content)) == record, "a backup's row is not written as read")
            guard (try? check.take(record)) != nil else { return }
        }
    }

    private static func operationRow(_ bytes: [UInt8]) throws(Broken) {
        let dot = Dot(origin: origin, sequence: 1 << 40)
        let stream = StreamID(Bytes16(high: 7, low: 8))
        func read(_ bytes: [UInt8]) -> OperationRow? {
            try? OperationRow(bytes, dot: dot, kind: .userTurn, stream: stream) { index throws(RuntimeError) in
                Origin(node: NodeID(Bytes16(high: 0, low: UInt64(bitPattern: index))), epoch: 1)
            }
        }
        guard let row = read(bytes) else { return }
        // Of an operation whose dependency is its own origin's the short form is written; the index stands for itself.
        let written = try? row.encoded { origin throws(RuntimeError) in Int64(bitPattern: origin.node.bytes.low) }
        guard let written else { throw Broken("an operation's row that was read cannot be written") }
        let again = read(written)
        try hold(again?.operation == row.operation && again?.prefixes == row.prefixes, "a row is not written as read")
    }

    /// A snapshot whose parts are what its manifest says: what is in them is its maker's.
    private static func snapshot(_ bytes: [UInt8]) throws(Broken) {
        let size = 256
        let parts = stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<min($0 + size, bytes.count)]) }
        let manifest = SnapshotManifest(
            id: Bytes16(high: 1, low: 1), bytes: bytes.count, partBytes: size, parts: parts.map { SHA256.hash($0) },
            operations: min(1, bytes.count), vector: VersionVector())
        guard var reader = try? SnapshotReader(manifest) else { return }
        for part in parts {
            guard let range = reader.next(atMost: size) else { throw Broken("a snapshot ends early") }
            try hold(range.count == part.count, "another part is asked for")
            guard (try? reader.received(part)) != nil else { return }
        }
        try hold(reader.next() == nil, "a snapshot does not end")
    }
}
