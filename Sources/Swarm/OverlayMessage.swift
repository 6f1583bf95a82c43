package import Core
internal import Cryptography

/// What hosts say on ``LinkChannel/overlay``.
package enum OverlayMessage: Hashable, Sendable {
    /// A message on its way through the tree, and how many hosts it passed. Its id is not sent: ``id(of:)``.
    case gossip(id: Bytes16, hops: Int, payload: [UInt8])
    /// The sender has these; the receiver asks when nobody else brings them, or only later.
    case iHave([Notice])
    /// Send me these, and from now on payloads at once: you are my parent in the tree.
    case graft([Bytes16])
    /// Send me no payloads; I have them from others.
    case prune

    /// A message that the sender has, and how many hosts it passed to there.
    package struct Notice: Hashable, Sendable {
        package var id: Bytes16
        package var hops: Int

        package init(id: Bytes16, hops: Int) {
            self.id = id
            self.hops = hops
        }
    }
}

extension OverlayMessage {
    /// The beginning of the content's SHA-256.
    package static func id(of payload: [UInt8]) -> Bytes16 {
        // A hash is longer than that.
        Bytes16(SHA256.hash(payload)) ?? Bytes16(high: 0, low: 0)
    }

    private enum Kind: UInt8 {
        case gossip = 1
        case iHave = 2
        case graft = 3
        case prune = 4
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .gossip(_, let hops, let payload):
            writer.put(Kind.gossip.rawValue)
            writer.put(varint: UInt64(clamping: hops))
            writer.put(raw: payload)
        case .iHave(let notices):
            writer.put(Kind.iHave.rawValue)
            writer.put(varint: UInt64(notices.count))
            for notice in notices {
                writer.put(notice.id)
                writer.put(varint: UInt64(clamping: notice.hops))
            }
        case .graft(let ids):
            writer.put(Kind.graft.rawValue)
            writer.put(varint: UInt64(ids.count))
            for id in ids { writer.put(id) }
        case .prune: writer.put(Kind.prune.rawValue)
        }
        return writer.bytes
    }

    /// Nil: a kind of message that this version does not know, to be skipped.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> OverlayMessage? {
        var reader = ByteReader(bytes)
        guard let kind = Kind(rawValue: try reader.byte()) else { return nil }
        switch kind {
        case .gossip:
            let hops = try reader.count(atMost: Int(UInt16.max))
            let payload = reader.rest()
            return .gossip(id: id(of: payload), hops: hops, payload: payload)
        case .iHave:
            var notices: [Notice] = []
            for _ in 0..<(try reader.count(atMost: Limits.overlayIdentifiers)) {
                let id = try reader.bytes16()
                notices.append(Notice(id: id, hops: try reader.count(atMost: Int(UInt16.max))))
            }
            try reader.expectEnd()
            return .iHave(notices)
        case .graft:
            var ids: [Bytes16] = []
            for _ in 0..<(try reader.count(atMost: Limits.overlayIdentifiers)) { ids.append(try reader.bytes16()) }
            try reader.expectEnd()
            return .graft(ids)
        case .prune:
            try reader.expectEnd()
            return .prune
        }
    }
}
