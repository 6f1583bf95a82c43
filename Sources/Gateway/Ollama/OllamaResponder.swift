import Core
import HTTPTypes
import Node

/// Answers in Ollama's dialect.
struct OllamaResponder: Sendable {
    /// The version of Ollama whose API this follows: its clients ask for it and refuse to work with older ones.
    static let version = "0.13.5"

    let flow: AnswerFlow
    /// Seconds since 1970.
    let startedAt: Int64

    private var node: any NodeServices { flow.node }

    func respond(
        to route: OllamaRoute, _ exchange: Exchange, caller: Owner, body: [UInt8], _ writer: ReplyWriter
    ) async throws {
        switch route {
        case .version:
            let reply: JSON = ["version": .string(Self.version), "igris_runtime": .string(node.version)]
            try await writer.send(Reply(reply))
        case .tags: try await writer.send(Reply(await models().tags))
        case .running:
            await node.measureModels()
            try await writer.send(Reply(await models().running))
        case .show: try await show(try JSON.parse(body), writer)
        case .chat: try await answer(.chat, exchange, caller, try JSON.parse(body), writer)
        case .generate: try await answer(.generate, exchange, caller, try JSON.parse(body), writer)
        case .embed: try await embed(try JSON.parse(body), exchange, writer)
        case .embeddings: try await embedOne(try JSON.parse(body), writer)
        case .create, .pull, .push, .copy, .delete, .blobs:
            throw APIError(
                405, code: "method_not_allowed",
                "this host's models are those of its configuration (models in config.json5); clients do not change "
                    + "them", headers: [("allow", "OPTIONS")])
        }
    }

    private func models() async -> OllamaModels {
        OllamaModels(
            models: await node.models(), modified: Timestamp(milliseconds: startedAt * 1_000).description)
    }

    // MARK: Answers

    private func answer(
        _ form: OllamaRequest.Form, _ exchange: Exchange, _ caller: Owner, _ json: JSON, _ writer: ReplyWriter
    ) async throws {
        var request = try OllamaRequest(form, json, headers: exchange.head.headerFields)
        let models = await models()
        request.chat.model = models.resolved(request.chat.model)
        guard !request.isEmpty else {
            return try await exchange.client.whilePresent { [request] in try await load(request, models, writer) }
        }
        try await flow.answer(
            request.chat, streams: request.streams, to: exchange, caller: caller, writer
        ) { [request] answer in
            OllamaEncoder(request, answer: answer, clock: OllamaClock { exchange.elapsed })
        }
    }

    /// A request without a question: Ollama's clients load or unload a model so.
    private func load(_ request: OllamaRequest, _ models: OllamaModels, _ writer: ReplyWriter) async throws {
        _ = try models.show(request.chat.model)
        try await node.prepare(request.chat.model, keepAlive: request.keepAlive, patience: Limits.modelPatience)
        var object = JSON.Object()
        object["model"] = .string(request.name)
        object["created_at"] = .string(Timestamp.now().description)
        if request.form == .chat {
            object["message"] = ["role": "assistant", "content": ""]
        } else {
            object["response"] = ""
        }
        object["done"] = true
        object["done_reason"] = request.keepAlive == .unloaded ? "unload" : "load"
        let line = JSON.object(object).encoded + [UInt8(ascii: "\n")]
        try await writer.send(
            Reply(type: request.streams ? OllamaEncoder.streamType : ContentType.json, body: line))
    }

    private func show(_ json: JSON, _ writer: ReplyWriter) async throws {
        let fields = RequestFields(json: json)
        // The older name of the field, which old clients send.
        let name = try fields.text("model") ?? fields.text("name")
        guard let name, !name.isEmpty else { throw fields.refusal("model", "is required: a name of GET /api/tags") }
        let models = await models()
        try await writer.send(Reply(try models.show(models.resolved(name))))
    }

    // MARK: Embeddings

    private func embed(_ json: JSON, _ exchange: Exchange, _ writer: ReplyWriter) async throws {
        let fields = RequestFields(json: json)
        let model = try fields.model()
        let keepAlive = try KeepAlive(fields)
        if json["dimensions"] != nil {
            throw fields.refusal("dimensions", "is not supported: a model's vectors are as long as they are")
        }
        var texts: [String] = []
        switch json["input"] {
        case .string(let text)?: texts = [text]
        case .array(let list)? where list.allSatisfy { $0.string != nil }: texts = list.compactMap(\.string)
        default: throw fields.refusal("input", "is required: a string or a list of strings")
        }
        guard texts.count <= Self.texts else { throw fields.refusal("input", "has more than \(Self.texts) texts") }
        let embeddings = try await self.embed(texts, model)
        if let keepAlive {
            try await node.prepare(await models().resolved(model), keepAlive: keepAlive, patience: Limits.modelPatience)
        }
        try await writer.send(
            Reply([
                "model": .string(model), "embeddings": .array(embeddings.vectors.map(Self.json)),
                "total_duration": .integer(exchange.elapsed.nanoseconds), "load_duration": 0,
                "prompt_eval_count": .integer(Int64(embeddings.promptTokens)),
            ]))
    }

    private static let texts = 2_048

    private func embedOne(_ json: JSON, _ writer: ReplyWriter) async throws {
        let fields = RequestFields(json: json)
        let text = try fields.required("prompt")
        let vector = try await embed([text], try fields.model()).vectors.first ?? []
        try await writer.send(Reply(["embedding": Self.json(vector)]))
    }

    private func embed(_ texts: [String], _ model: String) async throws -> Embeddings {
        guard !texts.isEmpty else { return Embeddings(vectors: [], promptTokens: 0) }
        let name = await models().resolved(model)
        try await node.prepare(name, keepAlive: nil, patience: Limits.modelPatience)
        return try await node.embed(texts, model: name)
    }

    private static func json(_ vector: [Float]) -> JSON { .array(vector.map { .number(Double($0)) }) }
}
