import Core
import HTTPTypes
import Node

/// `/v1/conversations` and their items: the same conversations that every dialect goes on with.
struct ConversationEndpoints: Sendable {
    let node: any NodeServices

    private static let itemsAtOnce = 20

    func create(_ caller: Owner, _ body: [UInt8]) async throws -> Reply {
        let fields = try Self.fields(body, isOptional: true)
        let metadata = try fields.metadata()
        let messages = try Self.messages(fields)
        let id = ConversationID("conv_", hexOf: [UInt8](hex: AnswerID.random()) ?? [])
        let record = try await node.describe(id, metadata: .object(metadata ?? JSON.Object()), of: caller)
        if !messages.isEmpty { _ = try await node.append(messages, to: id, of: caller) }
        return Reply(Self.json(record))
    }

    func get(_ id: String, _ caller: Owner) async throws -> Reply {
        Reply(Self.json(try await record(id, caller)))
    }

    func update(_ id: String, _ caller: Owner, _ body: [UInt8]) async throws -> Reply {
        let fields = try Self.fields(body)
        guard let metadata = try fields.metadata() else {
            throw fields.refusal("metadata", "is required: an object of strings")
        }
        let record = try await record(id, caller)
        return Reply(Self.json(try await node.describe(record.id, metadata: .object(metadata), of: caller)))
    }

    func delete(_ id: String, _ caller: Owner) async throws -> Reply {
        let record = try await record(id, caller)
        try await node.deleteConversation(record.id, of: caller)
        return Reply(["id": .string(id), "object": "conversation.deleted", "deleted": true])
    }

    // MARK: Items

    func items(_ id: String, _ exchange: Exchange, _ caller: Owner) async throws -> Reply {
        let page = try Page(exchange)
        let record = try await record(id, caller)
        let items = try await node.exchanges(in: record.id, of: caller).flatMap(ResponseItem.all)
        return Reply(try page.list(of: items.map { ($0.id, $0.json) }))
    }

    func append(_ id: String, _ caller: Owner, _ body: [UInt8]) async throws -> Reply {
        let fields = try Self.fields(body)
        let record = try await record(id, caller)
        let messages = try Self.messages(fields)
        guard !messages.isEmpty else { throw fields.refusal("items", "is required: a list of at least one item") }
        let turns = Set(try await node.append(messages, to: record.id, of: caller).map(\.dot))
        let items = try await node.exchanges(in: record.id, of: caller).flatMap { exchange in
            let question = turns.contains(exchange.question.dot) ? ResponseItem.question(exchange.question) : []
            guard let answer = exchange.answer, turns.contains(answer.dot) else { return question }
            return question + ResponseItem.answer(answer.turn.message, to: exchange.question.dot.digits)
        }
        return Reply([
            "object": "list", "data": .array(items.map(\.json)),
            "first_id": items.first.map { .string($0.id) } ?? .null,
            "last_id": items.last.map { .string($0.id) } ?? .null, "has_more": false,
        ])
    }

    func get(item: String, of id: String, _ caller: Owner) async throws -> Reply {
        Reply(try await find(item, id, caller).item)
    }

    /// Takes the whole turn away that the item belongs to: an answer's text goes with its calls.
    func delete(item: String, of id: String, _ caller: Owner) async throws -> Reply {
        let (record, exchange, _) = try await find(item, id, caller)
        let isQuestion = ResponseItem.place(item)?.place == 0
        let turn = isQuestion ? exchange.question.dot : exchange.answer?.dot ?? exchange.question.dot
        try await node.deleteTurn(turn, of: record.id, of: caller)
        return Reply(Self.json(record))
    }

    // MARK: Parts

    private func find(
        _ item: String, _ id: String, _ caller: Owner
    ) async throws -> (record: ConversationRecord, exchange: KeptExchange, item: JSON) {
        let unknown = RuntimeError(
            .notFound, "there is no item of that id in this conversation", parameter: "item_id")
        let record = try await record(id, caller)
        guard let place = ResponseItem.place(item) else { throw unknown }
        let exchange: KeptExchange
        do {
            exchange = try await node.exchange(place.question, of: caller)
        } catch let error as RuntimeError where error.code == .notFound {
            throw unknown
        }
        guard exchange.conversation == record.id,
            let found = ResponseItem.all(of: exchange).first(where: { $0.id == item })
        else { throw unknown }
        return (record, exchange, found.json)
    }

    private func record(_ id: String, _ caller: Owner) async throws -> ConversationRecord {
        let unknown = RuntimeError(
            .notFound, "there is no conversation of that id for this caller", parameter: "conversation_id")
        guard let name = ConversationID(id) else { throw unknown }
        do {
            return try await node.record(of: name, of: caller)
        } catch let error as RuntimeError where error.code == .notFound {
            throw unknown
        }
    }

    private static func messages(_ fields: RequestFields) throws(RuntimeError) -> [Message] {
        guard let items = try fields.list("items"), !items.isEmpty else { return [] }
        guard items.count <= itemsAtOnce else {
            throw fields.refusal("items", "must hold at most \(itemsAtOnce) items")
        }
        return try ResponseInput(fields, field: "items").messages
    }

    private static func fields(_ body: [UInt8], isOptional: Bool = false) throws(RuntimeError) -> RequestFields {
        if isOptional, body.isEmpty { return RequestFields(json: [:]) }
        let json = try JSON.parse(body)
        guard json.object != nil else { throw RuntimeError(.invalidRequest, "the body must be a JSON object") }
        return RequestFields(json: json)
    }

    private static func json(_ record: ConversationRecord) -> JSON {
        [
            "id": .string(record.id.rawValue), "object": "conversation",
            "created_at": .integer(record.created.seconds), "metadata": record.metadata ?? [:],
        ]
    }
}
