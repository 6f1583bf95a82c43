import Core
import HTTPTypes
import Node

/// `/v1/responses` and what lies below it. A response is an exchange of a conversation: whatever host has that, has it.
struct Responses: Sendable {
    let flow: AnswerFlow
    /// Nil where this host shares nothing.
    let swarm: (any SwarmServices)?

    var node: any NodeServices { flow.node }

    func create(_ exchange: Exchange, _ caller: Owner, _ body: [UInt8], _ writer: ReplyWriter) async throws {
        let request = try await request(exchange, caller, body)
        try await checkConversation(request, caller)
        do {
            if request.chat.runsInBackground, !request.streams {
                let answer = try await node.answer(request.chat, caller: caller)
                var reply = Reply(ResponseEncoder(request.record, answer: answer).queued)
                reply.headers = reply.headers + (await AnswerFlow.headers(of: answer))
                return try await writer.send(reply)
            }
            try await flow.answer(
                request.chat, streams: request.streams, to: exchange, caller: caller, writer
            ) { ResponseEncoder(request.record, answer: $0) }
        } catch let error as RuntimeError
            where error.code == .notFound && error.parameter == "previous_response_id"
        {
            throw APIError(
                400, code: "previous_response_not_found", parameter: error.parameter, error.message)
        } catch var error as RuntimeError where error.parameter == "messages" {
            error.parameter = "input"
            throw error
        }
    }

    private func request(
        _ exchange: Exchange, _ caller: Owner, _ body: [UInt8]
    ) async throws -> ResponseRequest {
        let (json, compacted) = try await ResponseReferences(node: node).resolve(JSON.parse(body), caller)
        return try ResponseRequest(json, headers: exchange.head.headerFields, after: compacted)
    }

    /// Ids of our making name a conversation that is there; any other name may begin one.
    private func checkConversation(_ request: ResponseRequest, _ caller: Owner) async throws {
        guard case .conversation(let id) = request.chat.continuation, id.rawValue.hasPrefix("conv_") else { return }
        do {
            _ = try await node.record(of: id, of: caller)
        } catch var error as RuntimeError where error.code == .notFound {
            error.parameter = "conversation"
            throw error
        }
    }

    func countTokens(_ exchange: Exchange, _ caller: Owner, _ body: [UInt8]) async throws -> Reply {
        let request = try await request(exchange, caller, body)
        try await flow.prepare(request.chat.model)
        let count = try await node.countTokens(request.chat, caller: caller)
        return Reply(["object": "response.input_tokens", "input_tokens": .integer(Int64(count.tokens))])
    }

    // MARK: Kept ones

    func get(_ id: String, _ exchange: Exchange, _ caller: Owner, _ writer: ReplyWriter) async throws {
        let (kept, record) = try await find(id, caller)
        switch exchange.query("stream") {
        case "true" where exchange.head.method == .get: try await replay(kept, record, exchange, caller, writer)
        case nil, "false", "true": try await writer.send(Reply(await response(kept, record)))
        default: throw RuntimeError(.invalidRequest, "stream must be true or false", parameter: "stream")
        }
    }

    func delete(_ id: String, _ caller: Owner) async throws -> Reply {
        let (kept, record) = try await find(id, caller)
        try await node.deleteExchange(kept.question.dot, turns: record.messages, of: caller)
        return Reply(["id": .string(id), "object": "response", "deleted": true])
    }

    func cancel(_ id: String, _ caller: Owner) async throws -> Reply {
        let (kept, record) = try await find(id, caller)
        guard record.isInBackground else {
            throw RuntimeError(
                .invalidRequest,
                "only a response with \"background\": true can be cancelled; close the connection of others",
                parameter: "response_id")
        }
        if try await !node.cancelAnswer(to: kept.question.dot, of: caller), case .elsewhere(let host) = kept.progress {
            try await awaitEnd(of: id, at: host, caller)
        }
        return Reply(await response(try await find(id, caller).kept, record))
    }

    /// Until what came of an answer has come from the host that wrote it, or that host is gone.
    private func awaitEnd(of id: String, at host: NodeID, _ caller: Owner) async throws {
        let end = ContinuousClock.now + Limits.cancellation
        while case .elsewhere = try await find(id, caller).kept.progress, await isAlive(host) {
            guard .now < end else {
                throw RuntimeError(
                    .timedOut,
                    "host \(host), which writes this response, has not said yet that it stopped; it is asked "
                        + "to all the same: fetch the response to see", parameter: "response_id")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    func inputItems(_ id: String, _ exchange: Exchange, _ caller: Owner) async throws -> Reply {
        let page = try Page(exchange)
        let (kept, record) = try await find(id, caller)
        let turns = try await node.path(to: kept.question.dot, of: caller).suffix(record.messages)
        return Reply(try page.list(of: turns.flatMap(ResponseItem.question).map { ($0.id, $0.json) }))
    }

    // MARK: Parts

    func find(_ id: String, _ caller: Owner) async throws -> (kept: KeptExchange, record: ResponseRecord) {
        let unknown = RuntimeError(
            .notFound, "there is no response of that id for this caller", parameter: "response_id")
        guard let question = ResponseRecord.question(ofResponse: id) else { throw unknown }
        let kept: KeptExchange
        do {
            kept = try await node.exchange(question, of: caller)
        } catch let error as RuntimeError where error.code == .notFound {
            throw unknown
        }
        guard let record = ResponseRecord(annotation: kept.question.turn.annotation) else { throw unknown }
        return (kept, record)
    }

    private func response(_ kept: KeptExchange, _ record: ResponseRecord) async -> JSON {
        let standing = await standing(of: kept, record)
        let digits = kept.question.dot.digits
        let isOver = kept.progress == .over
        let items = kept.answer.map { answer in
            isOver ? ResponseItem.answer(answer.turn.message, to: digits, status: standing.itemStatus) : []
        }
        return record.response(
            id: ResponseRecord.id(kept.question.dot), created: kept.question.timestamp.seconds, standing,
            output: (items ?? []).map(\.json), usage: isOver ? kept.answer?.turn.outcome?.usage : nil, isStored: true)
    }

    private func standing(of kept: KeptExchange, _ record: ResponseRecord) async -> ResponseRecord.Standing {
        switch kept.progress {
        case .running: return .inProgress
        case .lost: return .failed("this host was stopped while it wrote the answer; ask again")
        case .elsewhere(let host):
            if await isAlive(host) { return .inProgress }
            return .failed("host \(host), which wrote the answer, is gone; ask again")
        case .over:
            guard let reason = kept.answer?.turn.outcome?.finishReason else { return .inProgress }
            if reason == .aborted, record.isInBackground { return ResponseRecord.Standing(status: "cancelled") }
            return ResponseRecord.Standing(after: reason)
        }
    }

    private func isAlive(_ host: NodeID) async -> Bool {
        guard let hosts = await swarm?.hosts() else { return false }
        return hosts.contains { $0.id == host && ($0.state == .alive || $0.state == .suspect) }
    }
}
