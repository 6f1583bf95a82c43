package import Core
internal import Swarm

/// What operators and clients ask the swarm to do.
extension SwarmNode {
    private static let joinPatience = Duration.seconds(8)

    package func join(_ address: NetworkAddress) async throws {
        step(mesh: .sighted(Sighting(channel: .manual, addresses: [address])))
        let deadline = now + Self.joinPatience
        var reason: String?
        while now < deadline {
            if let host = mesh.hosts.first(where: { $0.addresses.contains(address) }) {
                if host.standing == .linked { return }
                reason = host.whyNot
                if host.standing != .connecting, reason != nil { break }
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw RuntimeError(
            .unavailable, "this host could not link with \(address): \(reason ?? "it has not answered in time")")
    }

    /// A part of what a peer has under `path`. Throws ``RuntimeError``: `.unavailable` while it cannot be reached.
    package func fetch(_ path: String, _ range: Range<Int>, from peer: NodeID) async throws -> [UInt8] {
        var failure = LinkFailure(.unreachable, "host \(peer) is not known here any more")
        for address in mesh.hosts.first(where: { $0.node == peer })?.addresses ?? [] {
            do {
                return try await setup.transport.get(path, range: range, from: address, node: peer)
            } catch let error as LinkFailure {
                failure = error
            }
        }
        throw RuntimeError(.unavailable, failure.message, cause: failure)
    }

    package func deleteConversation(
        _ id: ConversationID, of caller: Owner, patience: Duration
    ) async throws -> DeletionReport {
        let dot = try await conversations.delete(id, of: caller)
        let deadline = now + patience
        post("conversation_deleted", setup.node)
        while true {
            let wanted = states.filter { $0.value != .left }.keys.sorted()
            let holders = await writer.holders(of: dot)
            let pending = wanted.filter { !holders.contains($0) }
            let reachable = pending.filter { states[$0] == .alive }
            if reachable.isEmpty || now >= deadline {
                return DeletionReport(
                    confirmed: [setup.node] + wanted.filter(holders.contains), pending: pending)
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}
