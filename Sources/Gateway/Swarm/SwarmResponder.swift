import Core
import HTTPTypes
import Node

/// Answers the routes of the swarm, whole or piece by piece.
struct SwarmResponder: Sendable {
    private let pages: SwarmPages
    private let events: SwarmEvents
    private let snapshots: SnapshotTransfer

    private let models: (any ModelServices)?
    private let requests: (any RequestServices)?
    private let capacity: Capacity?

    init(
        swarm: any SwarmServices, node: any NodeServices, models: (any ModelServices)?,
        requests: (any RequestServices)?, capacity: Capacity?, lifecycle: GatewayLifecycle, limits: GatewayLimits
    ) {
        self.requests = requests
        self.capacity = capacity
        pages = SwarmPages(swarm: swarm, node: node)
        events = SwarmEvents(swarm: swarm, draining: lifecycle.draining, limits: limits)
        snapshots = SnapshotTransfer(swarm: swarm)
        self.models = models
    }

    func respond(
        to route: SwarmRoute, _ exchange: Exchange, body: [UInt8], _ writer: ReplyWriter
    ) async throws {
        switch route {
        case .events: try await events.respond(to: exchange, writer)
        case .snapshots: try await snapshots.manifest(writer)
        case .snapshot(let id): try await snapshots.send(id, exchange, writer)
        case .modelFile(let digest):
            guard let models else { throw RuntimeError(.notFound, "this host keeps no model files") }
            let model = try await models.offeredModel(digest)
            let body = RangedBody(name: "model", tag: "\"\(digest)\"", length: model.bytes, read: model.read)
            try await body.send(exchange, writer)
        case .capacity:
            guard let capacity else { throw RuntimeError(.notFound, "this host measures no capacity") }
            try await writer.send(await CapacityPage(capacity: capacity).reply())
        case .owners(let key):
            guard let requests else { throw RuntimeError(.notFound, "this host is in no swarm") }
            try await writer.send(RingPage(requests: requests).reply(key, exchange))
        default: try await writer.send(try await pages.reply(to: route, exchange, body: body))
        }
    }
}
