import Core
import HTTPTypes
import Node

/// OpenAI's dialect: every request finds its endpoint here.
struct OpenAIResponder: Sendable {
    private let chat: ChatCompletions
    private let stored: StoredCompletions
    private let completions: Completions
    private let embeddings: EmbeddingsEndpoint
    private let responses: Responses
    private let conversations: ConversationEndpoints

    init(flow: AnswerFlow, swarm: (any SwarmServices)?) {
        chat = ChatCompletions(flow: flow)
        stored = StoredCompletions(node: flow.node)
        completions = Completions(flow: flow)
        embeddings = EmbeddingsEndpoint(flow: flow)
        responses = Responses(flow: flow, swarm: swarm)
        conversations = ConversationEndpoints(node: flow.node)
    }

    func chatCompletions(_ exchange: Exchange, _ caller: Owner, _ body: [UInt8], _ writer: ReplyWriter) async throws {
        if exchange.head.method == .post {
            try await chat.respond(to: exchange, caller: caller, body: body, writer)
        } else {
            try await writer.send(try await stored.list(exchange, caller))
        }
    }

    func respond(
        to route: OpenAIRoute, _ exchange: Exchange, caller: Owner, body: [UInt8], _ writer: ReplyWriter
    ) async throws {
        switch route {
        case .completions: try await completions.respond(to: exchange, caller: caller, body: body, writer)
        case .responses: try await responses.create(exchange, caller, body, writer)
        case .stream(let id): try await AnswerStreams(responses: responses).get(id, exchange, caller, writer)
        case .response(let id) where exchange.head.method != .delete:
            try await responses.get(id, exchange, caller, writer)
        default: try await writer.send(try await reply(to: route, exchange, caller, body))
        }
    }

    private func reply(
        to route: OpenAIRoute, _ exchange: Exchange, _ caller: Owner, _ body: [UInt8]
    ) async throws -> Reply {
        let method = exchange.head.method
        switch route {
        case .embeddings: return try await embeddings.reply(to: exchange, body)
        case .inputTokens: return try await responses.countTokens(exchange, caller, body)
        case .compact: return try await responses.compact(caller, body)
        case .response(let id): return try await responses.delete(id, caller)
        case .cancelResponse(let id): return try await responses.cancel(id, caller)
        case .inputItems(let id): return try await responses.inputItems(id, exchange, caller)
        case .conversations: return try await conversations.create(caller, body)
        case .conversation(let id) where method == .delete: return try await conversations.delete(id, caller)
        case .conversation(let id) where method == .post: return try await conversations.update(id, caller, body)
        case .conversation(let id): return try await conversations.get(id, caller)
        case .items(let id) where method == .post: return try await conversations.append(id, caller, body)
        case .items(let id): return try await conversations.items(id, exchange, caller)
        case .item(let item, let id) where method == .delete:
            return try await conversations.delete(item: item, of: id, caller)
        case .item(let item, let id): return try await conversations.get(item: item, of: id, caller)
        case .storedCompletion(let id) where method == .delete: return try await stored.delete(id, caller)
        case .storedCompletion(let id) where method == .post: return try await stored.update(id, caller, body)
        case .storedCompletion(let id): return try await stored.get(id, caller)
        case .storedMessages(let id): return try await stored.messages(id, exchange, caller)
        case .completions, .responses, .stream: throw RuntimeError(.internal, "this route has a handler of its own")
        }
    }
}
