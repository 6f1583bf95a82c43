import Core
import HTTPTypes
import Node
import Swarm

/// `/v1/requests`: taking requests that are answered in the background, showing them, and letting clients watch them.
struct RequestPages: Sendable {
    /// Nil where this host keeps no conversations.
    let requests: (any RequestServices)?
    let gate: ModelGate
    let draining: Latch
    let limits: GatewayLimits

    func respond(
        to route: RequestRoute, _ exchange: Exchange, caller: Owner, body: [UInt8], _ writer: ReplyWriter
    ) async throws {
        guard let requests else {
            throw RuntimeError(
                .notFound,
                "this host keeps no conversations, so that it keeps no requests: mcp.enabled is false, or its "
                    + "store is locked")
        }
        let method = exchange.head.method
        switch route {
        case .all where method == .post: try await writer.send(try await open(exchange, caller, body, requests))
        case .all: try await writer.send(try await list(exchange, caller, requests))
        case .one(let id) where method == .delete:
            try await requests.delete(try Self.request(id), of: caller)
            try await writer.send(Reply(["id": .string(id), "object": "request", "deleted": true]))
        case .one(let id):
            let request = try Self.request(id)
            let accepts = exchange.head.headerFields[.accept] ?? ""
            if exchange.asksForWebSocket || accepts.contains("text/event-stream") && method == .get {
                return try await watch(request, exchange, caller, requests, writer)
            }
            try await writer.send(Reply(try await requests.request(request, of: caller).json))
        case .cancel(let id):
            let request = try Self.request(id)
            try await exchange.client.whilePresent {
                try await writer.send(Reply(try await requests.cancel(request, of: caller).json))
            }
        }
    }

    private static func request(_ id: String) throws(RuntimeError) -> Dot {
        guard let request = RequestName.request(id) else {
            throw RuntimeError(.notFound, "there is no request of that id for this caller", parameter: "id")
        }
        return request
    }

    private func open(
        _ exchange: Exchange, _ caller: Owner, _ body: [UInt8], _ requests: any RequestServices
    ) async throws -> Reply {
        let wall = UInt64(clamping: Timestamp.now().milliseconds)
        let request = try RequestBody(JSON.parse(body), wall: wall)
        try await gate.require(request.order.model)
        let key = try RequestFields.idempotencyKey(exchange.head.headerFields)
        do {
            let report = try await requests.open(request.order, messages: request.messages, key: key, caller: caller)
            var reply = Reply(report.json)
            reply.status = .accepted
            reply.headers[.replicas] = "\(report.replicas)"
            return reply
        } catch let error as RuntimeError where error.cause is NoCapableNode {
            throw APIError(
                503, type: "server_error", code: "no_capable_node", parameter: "required_capabilities", error.message,
                headers: APIError.retryHeaders(.seconds(5)))
        }
    }

    private func list(
        _ exchange: Exchange, _ caller: Owner, _ requests: any RequestServices
    ) async throws -> Reply {
        let limit = try exchange.query("limit").map { text in
            guard let limit = Int(text), (1...100).contains(limit) else {
                throw RuntimeError(.invalidRequest, "limit must be a number from 1 to 100", parameter: "limit")
            }
            return limit
        }
        let reports = try await requests.requests(of: caller, limit: limit ?? 20)
        return Reply(["object": "list", "data": .array(reports.map(\.json))])
    }

    // MARK: Watching

    /// States as they change, the pieces of what is written on this host, and the whole at the end: over a WebSocket to a
    /// client that asks for one, else as server-sent events.
    private func watch(
        _ request: Dot, _ exchange: Exchange, _ caller: Owner, _ requests: any RequestServices, _ writer: ReplyWriter
    ) async throws {
        // Whose it is is known before anything is opened.
        let first = try await requests.request(request, of: caller)
        try await exchange.client.whilePresent {
            if exchange.asksForWebSocket {
                let socket = try await writer.openSocket(exchange, limits: limits)
                await tell(request, caller, first, requests) { _, json in try await socket.send(text: json.encoded) }
                await socket.close()
            } else {
                try await writer.openStream(HTTPFields())
                await tell(request, caller, first, requests) { name, json in
                    // The JSON is one line, as the format asks for.
                    try await writer.send(
                        events: Array("event: \(name)\ndata: ".utf8) + json.encoded + Array("\n\n".utf8))
                }
                try await writer.finish()
            }
        }
    }

    /// Returns when it is over, the client has gone, or this host is about to end.
    private func tell(
        _ request: Dot, _ caller: Owner, _ first: RequestReport, _ requests: any RequestServices,
        _ send: @escaping @Sendable (_ name: String, JSON) async throws -> Void
    ) async {
        do {
            try await draining.whileClosed {
                var told: [Int] = []
                var status: String?
                var report = first
                for await _ in await requests.changes(of: request) {
                    let progress = await requests.progress(of: request, behind: told)
                    if progress.status ?? "" != status {
                        status = progress.status ?? ""
                        report = try await requests.request(request, of: caller)
                        if !report.isOver { try await send("state", Self.event("state", report)) }
                    }
                    for piece in progress.pieces {
                        while told.count <= piece.part { told.append(0) }
                        told[piece.part] += piece.text.utf8.count
                        try await send("piece", Self.piece(piece.part, piece.text))
                    }
                    guard !report.isOver else { break }
                }
                try Task.checkCancellation()
                if report.isOver { try await send("result", Self.event("result", report)) }
            }
        } catch {
            // Each reason for this is the end of the stream; closing it tells whether someone is left to hear that.
        }
    }

    private static func event(_ name: String, _ report: RequestReport) -> JSON {
        ["event": .string(name), "request": report.json]
    }

    private static func piece(_ part: Int, _ text: String) -> JSON {
        ["event": "piece", "part": .integer(Int64(part)), "text": .string(text)]
    }
}
