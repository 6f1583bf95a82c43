import Core
import HTTPTypes
import Node

/// `GET /v1/swarm/events`: what happens in the swarm, as it happens, to whoever listens. Never what was said.
struct SwarmEvents: Sendable {
    let swarm: any SwarmServices
    /// Opens when this host is about to end: a listener must not hold it up.
    let draining: Latch
    let limits: GatewayLimits

    /// The state of the swarm first, so that a listener needs no other question, then each event. Ends with the client,
    /// or with this host. A WebSocket to a client that asks for one, else server-sent events.
    func respond(to exchange: Exchange, _ writer: ReplyWriter) async throws {
        try await exchange.client.whilePresent {
            // Subscribed before the state is read: what happens in between is told twice rather than never.
            let events = await swarm.swarmEvents()
            if exchange.asksForWebSocket {
                let socket = try await writer.openSocket(exchange, limits: limits)
                await tell(events) { _, json in try await socket.send(text: json.encoded) }
                await socket.close()
            } else {
                try await writer.openStream(HTTPFields())
                await tell(events) { name, json in
                    // The JSON is one line, as the format asks for.
                    try await writer.send(
                        events: Array("event: \(name)\ndata: ".utf8) + json.encoded + Array("\n\n".utf8))
                }
                try await writer.finish()
            }
        }
    }

    /// Returns when the events have ended, the client has gone, or this host is about to end.
    private func tell(
        _ events: AsyncStream<SwarmEvent>, _ send: @escaping @Sendable (_ name: String, JSON) async throws -> Void
    ) async {
        do {
            try await draining.whileClosed {
                try await send("status", Self.first(await swarm.swarmStatus()))
                for await event in events { try await send(event.name, event.json) }
            }
        } catch {
            // Each reason for this is the end of the stream; closing it tells whether someone is left to hear that.
        }
    }

    /// The status as an event: in the shape of the others, with the page of `/v1/swarm/status` inside.
    private static func first(_ report: SwarmReport) -> JSON {
        [
            "event": "status", "at": .string(Timestamp.now().description), "node": .string(report.node.description),
            "detail": "", "status": report.json,
        ]
    }
}
