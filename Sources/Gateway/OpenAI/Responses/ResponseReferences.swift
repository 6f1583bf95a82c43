import Core
import Node

/// What of a request's input stands for something that this swarm keeps: a reference to an item is replaced by the
/// item, and a compaction item by the place from which the request goes on.
struct ResponseReferences: Sendable {
    let node: any NodeServices

    private static let compaction = "igris-compaction-1:"

    /// The request without references; and the exchange that its compaction item stands for, where there is one.
    ///
    /// Throws ``RuntimeError`` `.notFound` or `.invalidRequest` with the item's place.
    func resolve(_ json: JSON, _ caller: Owner) async throws -> (json: JSON, compacted: Dot?) {
        guard var object = json.object, let input = object["input"]?.array else { return (json, nil) }
        // What stands before a compaction item is part of what it stands for.
        let last = input.lastIndex { $0["type"] == "compaction" }
        let rest = input[(last.map { $0 + 1 } ?? 0)...]
        let references = rest.indices.filter { Self.isReference(input[$0]) }
        guard last != nil || !references.isEmpty else { return (json, nil) }
        guard references.count <= Limits.itemReferences else {
            throw RuntimeError(
                .invalidRequest,
                "input holds more than \(Limits.itemReferences) item references; send the items, or "
                    + "previous_response_id", parameter: "input")
        }
        var items = Array(rest)
        for place in references {
            let field = "input[\(place)].id"
            items[place - rest.startIndex] = try await item(input[place]["id"]?.string, field, caller)
        }
        object["input"] = .array(items)
        return (.object(object), try last.map { try Self.exchange(in: input[$0], at: $0) })
    }

    /// An item that stands for all that led to an exchange, its answer included.
    static func compactionItem(_ question: Dot) -> JSON {
        [
            "id": .string("cmp_\(question.digits)"), "type": "compaction",
            "encrypted_content": .string(compaction + question.digits),
        ]
    }

    private static func exchange(in item: JSON, at place: Int) throws(RuntimeError) -> Dot {
        guard let content = item["encrypted_content"]?.string, content.hasPrefix(compaction),
            let question = Dot(digits: content.dropFirst(compaction.count))
        else {
            throw RuntimeError(
                .invalidRequest,
                "input[\(place)].encrypted_content is not of this swarm's making: nobody else's can be read here",
                parameter: "input[\(place)].encrypted_content")
        }
        return question
    }

    private static func isReference(_ item: JSON) -> Bool {
        item["type"] == "item_reference" || (item["type"] == nil && item["role"] == nil && item["id"]?.string != nil)
    }

    private func item(_ id: String?, _ field: String, _ caller: Owner) async throws -> JSON {
        let unknown = RuntimeError(.notFound, "\(field) names no item that is kept for this caller", parameter: field)
        guard let id, let place = ResponseItem.place(id) else { throw unknown }
        do {
            let exchange = try await node.exchange(place.question, of: caller)
            guard let item = ResponseItem.all(of: exchange).first(where: { $0.id == id }) else { throw unknown }
            return item.json
        } catch let error as RuntimeError where error.code == .notFound {
            throw unknown
        }
    }
}

extension Responses {
    /// `POST /v1/responses/compact`: one small item that stands for a long input. Nothing is summed up and nothing lost:
    /// what it stands for is kept in the store, and each request that goes on from it holds as much of that as the
    /// model's context takes.
    func compact(_ caller: Owner, _ body: [UInt8]) async throws -> Reply {
        let json = try JSON.parse(body)
        guard json.object != nil else {
            throw RuntimeError(.invalidRequest, "the body must be a JSON object with \"model\" and \"input\"")
        }
        let (resolved, compacted) = try await ResponseReferences(node: node).resolve(json, caller)
        let fields = RequestFields(json: resolved)
        let model = try fields.model()
        var start = compacted
        if let previous = try fields.text("previous_response_id") {
            guard start == nil else {
                throw fields.refusal(
                    "previous_response_id", "cannot be joined with a compaction item; send one of them")
            }
            start = try await find(previous, caller).kept.question.dot
        }
        let isMore = fields.json["input"].asksForSomething
        guard isMore || start != nil else { throw fields.refusal("input", "is required: what shall be compacted") }
        var messages: [Message] = []
        if let start {
            messages = try await node.path(to: start, of: caller).map(\.turn.message)
            if let answer = try await node.exchange(start, of: caller).answer { messages.append(answer.turn.message) }
        }
        if isMore { messages += try ResponseInput(fields).messages }
        let request = ChatRequest(model: model, messages: messages, continuation: .off)
        let tokens = try await node.countTokens(request, caller: caller).tokens
        let question: Dot
        if let start, !isMore { question = start } else { question = try await keep(messages, caller) }
        let item = ResponseReferences.compactionItem(question)
        return Reply([
            "id": .string("resp_\(AnswerID.random())"), "object": "response.compaction",
            "created_at": .integer(Timestamp.now().milliseconds / 1000), "output": [item],
            "usage": ResponseRecord.json(TokenUsage(promptTokens: tokens, completionTokens: 0)),
        ])
    }

    /// Writes what was said as a conversation of its own. Its last exchange is the one that goes on.
    private func keep(_ messages: [Message], _ caller: Owner) async throws -> Dot {
        let id = ConversationID("conv_", hexOf: [UInt8](hex: AnswerID.random()) ?? [])
        _ = try await node.describe(id, metadata: [:], of: caller)
        _ = try await node.append(messages, to: id, of: caller)
        guard let last = try await node.exchanges(in: id, of: caller).last else {
            throw RuntimeError(.internal, "what was kept is not there")
        }
        return last.question.dot
    }
}
