internal import Core
internal import Swarm

/// Whether this host's store, and its peers', hold what they should.
extension SwarmNode {
    private static let path = "/v1/sync/streams"
    /// What is damaged may come from a peer for so long before it is told as lost.
    private static let patience = Duration.seconds(5)
    /// What differs may be on its way: it is compared again after so long.
    private static let settling = Duration.milliseconds(1_500)
    private static let comparisons = 3

    package func streamDigests() async throws -> [UInt8] {
        StreamDigestCodec.encode(try await writer.streamDigests())
    }

    package func verify(withPeers: Bool) async throws -> VerificationReport {
        if let failure = await writer.failure { throw failure }
        let found = await writer.verify(patience: Self.patience)
        var peers: [VerificationReport.Peer]?
        if withPeers {
            var ours = found.streams
            var compared: [VerificationReport.Peer] = []
            for round in 1...Self.comparisons {
                compared = []
                for node in adopted.keys.sorted() { compared.append(await compare(ours, with: node)) }
                guard round < Self.comparisons, compared.contains(where: { !$0.differences.isEmpty }) else { break }
                try await Task.sleep(for: Self.settling)
                ours = try await writer.streamDigests()
            }
            peers = compared + missing()
        }
        return VerificationReport(
            operations: found.streams.values.reduce(0) { $0 + Int(clamping: $1.operations) },
            conversations: found.streams.count, findings: found.findings, peers: peers)
    }

    /// Members that are not linked cannot be asked.
    private func missing() -> [VerificationReport.Peer] {
        membership.members.filter { $0.state != .left && adopted[$0.node] == nil }.map {
            VerificationReport.Peer(
                node: $0.node, name: $0.facts.name, differences: [],
                failure: "it is \($0.state.rawValue): igris-runtime peers says why")
        }
    }

    private func compare(
        _ ours: [StreamID: StreamDigest], with node: NodeID
    ) async -> VerificationReport.Peer {
        let host = mesh.hosts.first { $0.node == node }
        let name = membership.members.first { $0.node == node }?.facts.name ?? host?.name ?? ""
        var failure = "no address of it is known"
        for address in host?.addresses ?? [] {
            do {
                let bytes = try await setup.transport.get(Self.path, range: nil, from: address, node: node)
                let theirs = try StreamDigestCodec.decode(bytes)
                return VerificationReport.Peer(
                    node: node, name: name, differences: await differences(ours, theirs))
            } catch {
                failure = (error as? RuntimeError)?.message ?? (error as? LinkFailure)?.message ?? "it did not answer"
            }
        }
        return VerificationReport.Peer(node: node, name: name, differences: [], failure: failure)
    }

    private func differences(
        _ ours: [StreamID: StreamDigest], _ theirs: [StreamID: StreamDigest]
    ) async -> [VerificationReport.Difference] {
        var differences: [VerificationReport.Difference] = []
        for stream in Set(ours.keys).union(theirs.keys).sorted() where ours[stream] != theirs[stream] {
            // A row that no longer opens names nothing.
            let header = try? await writer.header(of: stream)
            differences.append(
                VerificationReport.Difference(
                    stream: stream, conversation: header?.id, here: ours[stream] ?? StreamDigest(),
                    there: theirs[stream] ?? StreamDigest()))
        }
        return differences
    }
}
