import Core
import Node

extension ScriptedSwarm {
    func verify(withPeers: Bool) async throws -> VerificationReport {
        let stream = StreamID(Bytes16(high: 1, low: 1))
        let peer = VerificationReport.Peer(
            node: Self.otherID, name: "kitchen",
            differences: [
                VerificationReport.Difference(
                    stream: stream, conversation: ConversationID("talk"),
                    here: StreamDigest(operations: 2, sum: Bytes16(high: 1, low: 2)), there: StreamDigest())
            ])
        return VerificationReport(operations: 2, conversations: 1, findings: [], peers: withPeers ? [peer] : nil)
    }

    func streamDigests() async throws -> [UInt8] { StreamDigestCodec.encode([:]) }
}
