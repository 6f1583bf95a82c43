import Core
import Swarm

@testable import Peering
@testable import Swarm

/// Messages of links, as one host of the swarm sends them to another. The first byte chooses the channel; messages of
/// replication, which stand in one session, come one behind the other with their length before them.
enum SwarmTarget {
    /// Anyone's seal is good, so that what stands behind it is reached.
    private static let scheme = SealScheme(
        author: [UInt8](repeating: 0, count: 32), sign: { _ in [UInt8](repeating: 0, count: 64) },
        verify: { _, _, _ in true }, node: { author in Bytes16(Array(author.prefix(16))).map { NodeID($0) } })

    static func run(_ bytes: [UInt8]) throws(Broken) {
        let (number, rest) = bytes.choice(of: 12)
        switch number {
        case 0: try again(rest, MeshMessage.decode, \.encoded, "mesh")
        case 1: try again(rest, MembershipMessage.decode, \.encoded, "membership")
        case 2: try again(rest, OverlayMessage.decode, \.encoded, "overlay")
        case 3: try written(rest, WorkMessage.decode, \.encoded, "work")
        case 4: try written(rest, { (bytes) throws(RuntimeError) in try TrustMessage(bytes) }, \.encoded, "trust")
        case 5: try replication(rest)
        case 6:
            try again(rest, { (bytes) throws(RuntimeError) in try TunnelMessage(decoding: bytes) }, \.encoded, "tunnel")
        case 7: try diagnosis(rest)
        case 8: try written(rest, RequestNote.decode, \.encoded, "request")
        case 9: try written(rest, { (bytes) throws(RuntimeError) in try SwarmRing(bytes) }, \.encoded, "ring")
        case 10: try again(rest, HostLoad.decode, \.encoded, "load")
        default:
            if let proof = EquivocationProof(rest, scheme) {
                try hold(proof.encoded == rest, "proof: it is not written as read")
            }
        }
    }

    /// What was read is what is read of it once it is written.
    private static func again<Message: Hashable>(
        _ bytes: [UInt8], _ decode: ([UInt8]) throws(RuntimeError) -> Message?, _ encode: (Message) -> [UInt8],
        _ name: String
    ) throws(Broken) {
        guard let message = try? decode(bytes) else { return }
        guard let read = try? decode(encode(message)) else { throw Broken("\(name): what is written cannot be read") }
        try hold(read == message, "\(name): what was read is not what is written of it")
    }

    /// As ``again``, for what cannot be compared: it is written alike twice.
    private static func written<Message>(
        _ bytes: [UInt8], _ decode: ([UInt8]) throws(RuntimeError) -> Message?, _ encode: (Message) -> [UInt8],
        _ name: String
    ) throws(Broken) {
        guard let message = try? decode(bytes) else { return }
        let once = encode(message)
        guard let read = try? decode(once) else { throw Broken("\(name): what is written cannot be read") }
        try hold(encode(read) == once, "\(name): what was read is not what is written of it")
    }

    private static func diagnosis(_ bytes: [UInt8]) throws(Broken) {
        guard let message = try? DiagnosisMessage(decoding: bytes) else { return }
        try hold(
            (try? DiagnosisMessage(decoding: message.encoded())) == message, "diagnosis: it is not written as read")
    }

    private static func replication(_ bytes: [UInt8]) throws(Broken) {
        var decoder = ReplicationDecoder()
        var messages: [ReplicationMessage] = []
        var reader = ByteReader(bytes)
        while !reader.isAtEnd, let bytes = try? reader.lengthPrefixed(atMost: bytes.count) {
            do throws(RuntimeError) {
                if let message = try decoder.decode(bytes) { messages.append(message) }
            } catch {
                // The session is over.
                break
            }
        }
        var encoder = ReplicationEncoder()
        var second = ReplicationDecoder()
        for message in messages {
            for bytes in encoder.encode(message) {
                let read: ReplicationMessage?
                do throws(RuntimeError) {
                    read = try second.decode(bytes)
                } catch {
                    throw Broken("replication: what is written cannot be read: \(error)")
                }
                try hold(read == nil || read == message, "replication: what was read is not what is written of it")
            }
        }
    }
}
