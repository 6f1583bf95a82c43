package import Core

/// What hosts say on ``LinkChannel/overlay``.
package enum OverlayMessage: Hashable, Sendable {
    /// A message on its way through the tree, and how many hosts it passed.
    case gossip(id: Bytes16, hops: Int, payload: [UInt8])
    /// The sender has these; the receiver asks when nobody else brings them.
    case iHave([Bytes16])
    /// Send me these, and from now on payloads at once: you are my parent in the tree.
    case graft([Bytes16])
    /// Send me no payloads; I have them from others.
    case prune
}

extension OverlayMessage {
    fileprivate enum Kind: UInt8 {
        case gossip = 1
        case iHave = 2
        case graft = 3
        case prune = 4
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .gossip(let id, let hops, let payload):
            writer.put(Kind.gossip.rawValue)
            writer.put(id)
            writer.put(varint: UInt64(clamping: hops))
            writer.put(raw: payload)
        case .iHave(let ids): writer.put(.iHave, ids)
        case .graft(let ids): writer.put(.graft, ids)
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
            let id = try reader.bytes16()
            return .gossip(id: id, hops: try reader.count(atMost: Int(UInt16.max)), payload: reader.rest())
        case .iHave: return .iHave(try reader.identifiers())
        case .graft: return .graft(try reader.identifiers())
        case .prune:
            try reader.expectEnd()
            return .prune
        }
    }
}

extension ByteWriter {
    fileprivate mutating func put(_ kind: OverlayMessage.Kind, _ ids: [Bytes16]) {
        put(kind.rawValue)
        put(varint: UInt64(ids.count))
        for id in ids { put(id) }
    }
}

extension ByteReader {
    fileprivate mutating func identifiers() throws(RuntimeError) -> [Bytes16] {
        var ids: [Bytes16] = []
        for _ in 0..<(try count(atMost: Limits.overlayIdentifiers)) { ids.append(try bytes16()) }
        try expectEnd()
        return ids
    }
}
