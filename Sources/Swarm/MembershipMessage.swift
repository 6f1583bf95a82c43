package import Core

/// A word about a member. `alive` and `left` are its own, signed; the others are what someone saw, and are refuted by
/// the member's next incarnation.
package enum MembershipClaim: Hashable, Sendable {
    case own(SignedClaim)
    case suspect(NodeID, incarnation: UInt64, by: NodeID)
    case dead(NodeID, incarnation: UInt64, by: NodeID)
}

/// A member's own word about itself: that it is there, or that it leaves.
package struct SignedClaim: Hashable, Sendable {
    package var node: NodeID
    package var instance: InstanceID
    /// Milliseconds since 1970 at the start of a run, then one more for each change or refutation.
    package var incarnation: UInt64
    package var isLeaving: Bool
    package var facts: MemberFacts
    /// The 32-byte public key whose hash is `node`.
    package var author: [UInt8]
    /// 64 bytes over ``message``.
    package var signature: [UInt8]

    package init(
        node: NodeID, instance: InstanceID, incarnation: UInt64, isLeaving: Bool, facts: MemberFacts, author: [UInt8],
        signature: [UInt8]
    ) {
        self.node = node
        self.instance = instance
        self.incarnation = incarnation
        self.isLeaving = isLeaving
        self.facts = facts
        self.author = author
        self.signature = signature
    }
}

/// What hosts say on ``LinkChannel/membership``.
package enum MembershipMessage: Hashable, Sendable {
    case ping(UInt64, [MembershipClaim])
    case ack(UInt64, [MembershipClaim])
    /// Please ping this one for me.
    case indirectPing(UInt64, NodeID, [MembershipClaim])
    /// It does not answer me either.
    case nack(UInt64, [MembershipClaim])
    case gossip([MembershipClaim])
    /// A hash over all that the sender holds; the receiver whose differs answers with its `table`.
    case digest(UInt64)
    /// All that the sender holds. The receiver sends what it knows better, and requests what it knows less of.
    case table([MembershipEntry])
    /// Please tell what you hold of these.
    case request([NodeID])
}

package struct MembershipEntry: Hashable, Sendable {
    package var node: NodeID
    package var incarnation: UInt64
    package var state: Member.State

    package init(node: NodeID, incarnation: UInt64, state: Member.State) {
        self.node = node
        self.incarnation = incarnation
        self.state = state
    }
}

extension MembershipMessage {
    fileprivate enum Kind: UInt8 {
        case ping = 1
        case ack = 2
        case indirectPing = 3
        case nack = 4
        case gossip = 5
        case digest = 6
        case table = 7
        case request = 8
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .ping(let token, let claims): writer.put(.ping, token, claims)
        case .ack(let token, let claims): writer.put(.ack, token, claims)
        case .indirectPing(let token, let node, let claims):
            writer.put(Kind.indirectPing.rawValue)
            writer.put(varint: token)
            writer.put(node.bytes)
            writer.put(claims)
        case .nack(let token, let claims): writer.put(.nack, token, claims)
        case .gossip(let claims):
            writer.put(Kind.gossip.rawValue)
            writer.put(claims)
        case .digest(let digest):
            writer.put(Kind.digest.rawValue)
            writer.put(bigEndian: digest)
        case .table(let entries):
            writer.put(Kind.table.rawValue)
            writer.put(varint: UInt64(entries.count))
            for entry in entries {
                writer.put(entry.node.bytes)
                writer.put(varint: entry.incarnation)
                writer.put(entry.state.code)
            }
        case .request(let nodes):
            writer.put(Kind.request.rawValue)
            writer.put(varint: UInt64(nodes.count))
            for node in nodes { writer.put(node.bytes) }
        }
        return writer.bytes
    }

    /// Nil: a kind of message that this version does not know, to be skipped.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> MembershipMessage? {
        var reader = ByteReader(bytes)
        guard let kind = Kind(rawValue: try reader.byte()) else { return nil }
        let message: MembershipMessage
        switch kind {
        case .ping: message = .ping(try reader.varint(), try reader.claims())
        case .ack: message = .ack(try reader.varint(), try reader.claims())
        case .indirectPing:
            message = .indirectPing(try reader.varint(), NodeID(try reader.bytes16()), try reader.claims())
        case .nack: message = .nack(try reader.varint(), try reader.claims())
        case .gossip: message = .gossip(try reader.claims())
        case .digest: message = .digest(try reader.bigEndian64())
        case .table:
            var entries: [MembershipEntry] = []
            for _ in 0..<(try reader.count(atMost: Limits.knownHosts + 1)) {
                let node = NodeID(try reader.bytes16())
                let incarnation = try reader.varint()
                guard let state = Member.State(code: try reader.byte()) else {
                    throw RuntimeError(.corrupt, "a member is in a state that there is not")
                }
                entries.append(MembershipEntry(node: node, incarnation: incarnation, state: state))
            }
            message = .table(entries)
        case .request:
            var nodes: [NodeID] = []
            for _ in 0..<(try reader.count(atMost: Limits.knownHosts + 1)) {
                nodes.append(NodeID(try reader.bytes16()))
            }
            message = .request(nodes)
        }
        try reader.expectEnd()
        return message
    }
}

extension ByteWriter {
    fileprivate mutating func put(_ kind: MembershipMessage.Kind, _ token: UInt64, _ claims: [MembershipClaim]) {
        put(kind.rawValue)
        put(varint: token)
        put(claims)
    }

    fileprivate mutating func put(_ claims: [MembershipClaim]) {
        put(varint: UInt64(claims.count))
        for claim in claims {
            switch claim {
            case .own(let claim):
                put(1)
                put(lengthPrefixed: claim.fields)
                put(raw: claim.author)
                put(raw: claim.signature)
            case .suspect(let node, let incarnation, let by): put(2, node, incarnation, by)
            case .dead(let node, let incarnation, let by): put(3, node, incarnation, by)
            }
        }
    }

    private mutating func put(_ kind: UInt8, _ node: NodeID, _ incarnation: UInt64, _ by: NodeID) {
        put(kind)
        put(node.bytes)
        put(varint: incarnation)
        put(by.bytes)
    }
}

extension ByteReader {
    fileprivate mutating func claims() throws(RuntimeError) -> [MembershipClaim] {
        var claims: [MembershipClaim] = []
        for _ in 0..<(try count(atMost: Limits.claimsPerMessage)) {
            switch try byte() {
            case 1: claims.append(.own(try signedClaim()))
            case 2:
                claims.append(
                    .suspect(
                        NodeID(try bytes16()), incarnation: try varint(), by: NodeID(try bytes16())))
            case 3:
                claims.append(
                    .dead(NodeID(try bytes16()), incarnation: try varint(), by: NodeID(try bytes16())))
            default: throw RuntimeError(.corrupt, "a claim about a member is of no known kind")
            }
        }
        return claims
    }

    private mutating func signedClaim() throws(RuntimeError) -> SignedClaim {
        var fields = ByteReader(try lengthPrefixed(atMost: SignedClaim.fieldBytes))
        let node = NodeID(try fields.bytes16())
        let instance = InstanceID(try fields.bytes16())
        let incarnation = try fields.varint()
        let isLeaving = try fields.byte() != 0
        let facts = try MemberFacts(decoding: &fields)
        try fields.expectEnd()
        return SignedClaim(
            node: node, instance: instance, incarnation: incarnation, isLeaving: isLeaving, facts: facts,
            author: try raw(32), signature: try raw(64))
    }
}

extension SignedClaim {
    static let fieldBytes = 64 * 1024

    /// What is signed.
    package var message: [UInt8] { Array("igris-member-1".utf8) + fields }

    fileprivate var fields: [UInt8] {
        var writer = ByteWriter()
        writer.put(node.bytes)
        writer.put(instance.bytes)
        writer.put(varint: incarnation)
        writer.put(isLeaving ? 1 : 0)
        facts.encode(into: &writer)
        return writer.bytes
    }
}

extension MemberFacts {
    private static let nameBytes = 255

    fileprivate func encode(into writer: inout ByteWriter) {
        for text in [name, version, role, zone] { writer.put(text: text, atMost: Self.nameBytes) }
        let told = models.told
        writer.put(varint: UInt64(told.count))
        for model in told { writer.put(model) }
        writer.put(addresses)
        let linked = neighbours.prefix(Limits.memberNeighbours)
        writer.put(varint: UInt64(linked.count))
        for neighbour in linked { writer.put(bigEndian: neighbour) }
    }

    fileprivate init(decoding reader: inout ByteReader) throws(RuntimeError) {
        self.init(
            name: try reader.text(atMost: Self.nameBytes), version: try reader.text(atMost: Self.nameBytes),
            role: try reader.text(atMost: Self.nameBytes), zone: try reader.text(atMost: Self.nameBytes))
        for _ in 0..<(try reader.count(atMost: Limits.memberModels)) {
            models.append(try reader.hostedModel())
        }
        addresses = try reader.addresses()
        for _ in 0..<(try reader.count(atMost: Limits.memberNeighbours)) {
            neighbours.append(try reader.bigEndian32())
        }
    }
}

extension Member.State {
    fileprivate var code: UInt8 {
        switch self {
        case .alive: 0
        case .suspect: 1
        case .dead: 2
        case .left: 3
        }
    }

    fileprivate init?(code: UInt8) {
        guard let state = Self.allCases.first(where: { $0.code == code }) else { return nil }
        self = state
    }
}
