import Core
import HTTPTypes
import Node

/// Chat completions that were asked for with `"store": true`: listed, fetched and deleted.
struct StoredCompletions: Sendable {
    let node: any NodeServices

    private static let kind = "chat.completion"

    /// What is kept beside the question of a request to store; nil for one that does not ask for it.
    static func annotation(_ fields: RequestFields, messages: Int) throws(RuntimeError) -> JSON? {
        guard try fields.flag("store") == true else { return nil }
        var request = JSON.Object()
        for name in [
            "model", "metadata", "temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "tools",
            "tool_choice", "response_format", "user",
        ] {
            if let value = fields.json[name] { request[name] = value }
        }
        return ["kind": .string(kind), "messages": .integer(Int64(messages)), "request": .object(request)]
    }

    func list(_ exchange: Exchange, _ caller: Owner) async throws -> Reply {
        let page = try Page(exchange, isAscending: true)
        let model = exchange.query("model").map(String.init)
        let metadata = try exchange.queryItems().compactMap { item -> (String, String)? in
            guard item.name.hasPrefix("metadata["), item.name.hasSuffix("]") else { return nil }
            return (String(item.name.dropFirst("metadata[".count).dropLast()), item.value)
        }
        let found = try await node.exchanges(of: caller) { annotation in
            guard annotation["kind"]?.string == Self.kind, let request = annotation["request"] else { return false }
            guard model == nil || request["model"]?.string == model else { return false }
            return metadata.allSatisfy { request["metadata"]?[$0.0]?.string == $0.1 }
        }
        let entries = found.reversed().compactMap { kept in
            Self.completion(kept).map { (id: AnswerID.chatCompletion(kept.question.dot), json: $0) }
        }
        return Reply(try page.list(of: entries))
    }

    func get(_ id: String, _ caller: Owner) async throws -> Reply {
        guard let completion = Self.completion(try await find(id, caller)) else { throw Self.unknown }
        return Reply(completion)
    }

    func update(_ id: String, _ caller: Owner, _ body: [UInt8]) async throws -> Reply {
        let json = try JSON.parse(body)
        guard json.object != nil else {
            throw RuntimeError(.invalidRequest, "the body must be a JSON object with \"metadata\"")
        }
        let fields = RequestFields(json: json)
        guard let metadata = try fields.metadata() else {
            throw fields.refusal("metadata", "is required: an object of strings")
        }
        let kept = try await find(id, caller)
        guard var annotation = kept.question.turn.annotation?.object, var request = annotation["request"]?.object else {
            throw Self.unknown
        }
        request["metadata"] = .object(metadata)
        annotation["request"] = .object(request)
        try await node.annotate(kept.question.dot, .object(annotation), of: caller)
        return try await get(id, caller)
    }

    func delete(_ id: String, _ caller: Owner) async throws -> Reply {
        let kept = try await find(id, caller)
        try await node.deleteExchange(kept.question.dot, turns: 1, of: caller)
        return Reply(["id": .string(id), "object": "chat.completion.deleted", "deleted": true])
    }

    func messages(_ id: String, _ exchange: Exchange, _ caller: Owner) async throws -> Reply {
        let page = try Page(exchange, isAscending: true)
        let kept = try await find(id, caller)
        let turns = try await node.path(to: kept.question.dot, of: caller)
        let entries = turns.enumerated().map { index, turn in
            var object = JSON.Object()
            object["id"] = .string("\(id)-\(index)")
            object["role"] = .string(turn.turn.message.role.rawValue)
            object["content"] = .string(turn.turn.message.text)
            object["content_parts"] = .null
            object["name"] = .null
            if !turn.turn.message.toolCalls.isEmpty {
                object["tool_calls"] = .array(turn.turn.message.toolCalls.map(\.json))
            }
            if let call = turn.turn.message.toolCallID { object["tool_call_id"] = .string(call) }
            return (id: "\(id)-\(index)", json: JSON.object(object))
        }
        return Reply(try page.list(of: entries))
    }

    // MARK: Parts

    private static let unknown = RuntimeError(
        .notFound, "there is no stored completion of that id for this caller", parameter: "completion_id")

    private func find(_ id: String, _ caller: Owner) async throws -> KeptExchange {
        guard id.hasPrefix("chatcmpl-"), let question = Dot(digits: id.dropFirst("chatcmpl-".count)) else {
            throw Self.unknown
        }
        do {
            let kept = try await node.exchange(question, of: caller)
            guard kept.question.turn.annotation?["kind"]?.string == Self.kind else { throw Self.unknown }
            return kept
        } catch let error as RuntimeError where error.code == .notFound {
            throw Self.unknown
        }
    }

    /// Nil while there is no answer.
    private static func completion(_ kept: KeptExchange) -> JSON? {
        guard let answer = kept.answer?.turn, let outcome = answer.outcome,
            let request = kept.question.turn.annotation?["request"]?.object
        else { return nil }
        let reason =
            outcome.finishReason == .length ? "length" : answer.message.toolCalls.isEmpty ? "stop" : "tool_calls"
        var object = JSON.Object()
        object["id"] = .string(AnswerID.chatCompletion(kept.question.dot))
        object["object"] = "chat.completion"
        object["created"] = .integer(kept.question.timestamp.seconds)
        object["choices"] = [
            ["index": 0, "message": answer.message.answerJSON, "logprobs": nil, "finish_reason": .string(reason)]
        ]
        object["usage"] = outcome.usage.json
        object["metadata"] = [:]
        for member in request.members { object[member.key] = member.value }
        return .object(object)
    }
}
