package import Core

/// The links on which this host asks others: one with each, opened when it is needed.
package actor WorkLinks {
    private let transport: any PeerTransport
    private let addresses: @Sendable (NodeID) async -> [NetworkAddress]
    private var links: [NodeID: (number: Int, link: Task<WorkLink, any Error>)] = [:]
    private var count = 0

    /// - Parameter addresses: where a host may be reached, the best first.
    package init(transport: any PeerTransport, addresses: @escaping @Sendable (NodeID) async -> [NetworkAddress]) {
        self.transport = transport
        self.addresses = addresses
    }

    /// Throws ``RuntimeError`` `.unavailable` with ``HostGone`` where the host cannot be reached.
    func link(with node: NodeID) async throws -> WorkLink {
        if let known = links[node] {
            if let link = try? await known.link.value, await !link.isOver { return link }
            // Another request may have opened the next one meanwhile.
            if links[node]?.number == known.number { links[node] = nil }
        }
        let opening: Task<WorkLink, any Error>
        if let known = links[node] {
            opening = known.link
        } else {
            // Not one request's own: others wait for it too.
            opening = Task { try await open(node) }
            count += 1
            links[node] = (count, opening)
        }
        return try await opening.value
    }

    private func open(_ node: NodeID) async throws -> WorkLink {
        var reason = "its address is not known"
        for address in await addresses(node).prefix(Limits.memberAddresses) {
            do {
                let link = WorkLink(try await transport.open(.work, to: node, at: address))
                await link.begin()
                return link
            } catch let failure as LinkFailure {
                reason = failure.message
            }
        }
        throw RuntimeError(
            .unavailable, "the host that has the model cannot be reached: \(reason)", cause: HostGone(isSilent: false))
    }
}
