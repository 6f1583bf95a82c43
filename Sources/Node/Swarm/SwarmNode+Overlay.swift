internal import Core
internal import Logging
internal import Metrics
internal import Swarm

/// The tree: what ``Overlay`` decides, done.
extension SwarmNode {
    func perform(_ effect: Overlay.Effect) {
        switch effect {
        case .send(let message, let node):
            guard let number = adopted[node] else { return }
            overlayMetrics.sent(message)
            send(.overlay, message.encoded, on: number)
        case .deliver(_, _, let hops):
            isDelivered = true
            overlayMetrics.hops.record(hops)
        case .neighbours(let nodes):
            step(mesh: .neighbours(nodes))
            guard isTree != (nodes != nil) else { return }
            isTree = nodes != nil
            log.notice(
                isTree
                    ? "more hosts than mcp.mesh_limit: fresh turns go through a tree"
                    : "every host is linked with every other",
                metadata: ["swarm.hosts": "\(overlay.size)", "mesh.limit": "\(overlay.limit)"])
            post(isTree ? "tree_begun" : "mesh_begun", nil, "\(overlay.size) hosts")
            tellWriter(of: setup.node) { [isTree] in await $0.spreads(throughTree: isTree) }
        case .release(let node): step(mesh: .release(node))
        }
    }

    /// Returns the batch that a message brought, where it is new: for the writer. Throws for what is no message.
    func receivedBroadcast(_ payload: [UInt8], from node: NodeID) throws -> OperationBatch? {
        guard let message = try OverlayMessage.decode(payload) else { return nil }
        var batch: OperationBatch?
        // Read before it goes on: rubbish is not passed on, so that nobody is taken for its author.
        if case .gossip(_, _, let payload) = message { batch = try OperationBatchCodec.decode(payload) }
        isDelivered = false
        step(overlay: .received(message, from: node))
        if batch != nil, !isDelivered { overlayMetrics.duplicates.increment() }
        return isDelivered ? batch : nil
    }

    /// How a member stands to ``Membership`` is how it stands to the overlay.
    func tellOverlay(_ member: Member) {
        switch member.state {
        case .alive: step(overlay: .joined([member.node]))
        case .dead, .left: step(overlay: .gone(member.node))
        case .suspect: break
        }
    }
}

struct OverlayMetrics: Sendable {
    let hops = Recorder(label: "igris_overlay_hops")
    let duplicates = Counter(label: "igris_overlay_duplicates_total")
    private let payloads = Self.messages("payload")
    private let notices = Self.messages("notice")
    private let grafts = Self.messages("graft")
    private let prunes = Self.messages("prune")

    private static func messages(_ kind: String) -> Counter {
        Counter(label: "igris_overlay_messages_total", dimensions: [("kind", kind)])
    }

    func sent(_ message: OverlayMessage) {
        switch message {
        case .gossip: payloads.increment()
        case .iHave: notices.increment()
        case .graft: grafts.increment()
        case .prune: prunes.increment()
        }
    }
}
