import Core
import Cryptography

/// What hosts tell each other about their keys.
///
///     channel u8 | version u8 | 1 | number varint | tag 16 | phase u8 | installed, using, denied nodes | seen…
///     channel u8 | version u8 | 2 | entry | phase u8
///
/// The second holds the key itself: it goes over a link that both sides have authenticated, to those who may have it.
enum TrustMessage: Sendable {
    static let version: UInt8 = 1

    /// How far a host is with its newest key.
    struct Summary: Sendable {
        enum Phase: UInt8, Comparable, Sendable {
            case install = 1
            case use = 2
            case retired = 3

            static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
        }

        var number: UInt32
        var tag: [UInt8]
        var phase: Phase
        var installed: Set<NodeID>
        var using: Set<NodeID>
        var denied: Set<NodeID>
        /// When which host was last heard of, in milliseconds since 1970; ascending by host.
        var seen: [(NodeID, UInt64)]
    }

    case summary(Summary)
    case key(SwarmRing.Entry, phase: SwarmRing.Phase)

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(LinkChannel.trust.rawValue)
        writer.put(Self.version)
        switch self {
        case .summary(let summary):
            writer.put(1)
            writer.put(varint: UInt64(summary.number))
            writer.put(raw: summary.tag)
            writer.put(summary.phase.rawValue)
            writer.put(summary.installed)
            writer.put(summary.using)
            writer.put(summary.denied)
            writer.put(varint: UInt64(summary.seen.count))
            for (node, at) in summary.seen {
                writer.put(node.bytes)
                writer.put(bigEndian: at)
            }
        case .key(let entry, let phase):
            writer.put(2)
            writer.put(entry)
            writer.put(phase.rawValue)
        }
        return writer.bytes
    }

    /// Throws ``RuntimeError`` `.corrupt` on anything but exactly one message of this version.
    init(_ bytes: [UInt8]) throws(RuntimeError) {
        var reader = ByteReader(bytes)
        guard try reader.byte() == LinkChannel.trust.rawValue, try reader.byte() == Self.version else {
            throw RuntimeError(.corrupt, "a message of another channel or version")
        }
        switch try reader.byte() {
        case 1:
            guard let number = UInt32(exactly: try reader.varint()) else {
                throw RuntimeError(.corrupt, "a swarm key has a number that none has")
            }
            let tag = try reader.raw(SwarmKeys.tagBytes)
            guard let phase = Summary.Phase(rawValue: try reader.byte()) else {
                throw RuntimeError(.corrupt, "a rotation is in an unknown phase")
            }
            var summary = Summary(
                number: number, tag: tag, phase: phase, installed: try reader.nodes(), using: try reader.nodes(),
                denied: try reader.nodes(), seen: [])
            for _ in 0..<(try reader.count(atMost: Limits.knownHosts)) {
                let node = NodeID(try reader.bytes16())
                summary.seen.append((node, try reader.bigEndian64()))
            }
            self = .summary(summary)
        case 2:
            let entry = try reader.entry()
            guard let phase = SwarmRing.Phase(rawValue: try reader.byte()) else {
                throw RuntimeError(.corrupt, "a rotation is in an unknown phase")
            }
            self = .key(entry, phase: phase)
        default: throw RuntimeError(.corrupt, "a message of an unknown kind")
        }
        try reader.expectEnd()
    }
}
