import Core
import HTTPTypes

/// A `POST /api/chat` or `/api/generate` understood: the canonical request, and how the client wants to be answered.
///
/// Options that say how Ollama should run a model (`num_ctx`, `num_gpu`, …) are ignored: here the host's settings do.
struct OllamaRequest {
    enum Form {
        case chat
        case generate
    }

    var form: Form
    /// The model as the client wrote it: replies echo it, while ``chat`` may name it as this host does.
    var name: String
    var chat: ChatRequest
    /// Unlike in other dialects, unless the client says no.
    var streams: Bool
    /// The client wants to see what the model thought, as it does unless it says no.
    var showsThinking: Bool
    var keepAlive: KeepAlive?
    /// There is nothing to answer: Ollama's clients load and unload a model so.
    var isEmpty: Bool { chat.messages.isEmpty }

    /// Throws ``RuntimeError`` `.invalidRequest` with the field's name.
    init(_ form: Form, _ json: JSON, headers: HTTPFields) throws(RuntimeError) {
        guard json.object != nil else {
            throw RuntimeError(.invalidRequest, "the body must be a JSON object with \"model\"")
        }
        let fields = RequestFields(json: json)
        self.form = form
        let messages = form == .chat ? try Self.messages(fields) : try Self.prompt(fields)
        name = try fields.model()
        chat = ChatRequest(model: name, messages: messages)
        try Self.readOptions(fields, into: &chat)
        chat.shape = try Self.shape(fields)
        if try fields.flag("store") == false {
            chat.continuation = .off
        } else if let header = headers[.conversationID] {
            chat.continuation = .conversation(try RequestFields.conversation(header, "X-Conversation-Id"))
        }
        chat.idempotencyKey = try RequestFields.idempotencyKey(headers)
        try chat.readTurn(fields, headers)
        streams = try fields.flag("stream") ?? true
        showsThinking = try Self.showsThinking(fields)
        keepAlive = try KeepAlive(fields)
        chat.keepAlive = keepAlive
    }

    private static func readOptions(_ fields: RequestFields, into chat: inout ChatRequest) throws(RuntimeError) {
        guard let options = try fields.nested("options") else { return }
        chat.sampling = try options.sampling()
        // Clients send these for "off".
        if chat.sampling.seed == 0 { chat.sampling.seed = nil }
        chat.stop = try options.stop()
        // -1 and -2 mean as many as there is room for.
        let limit = try options.integer("num_predict", in: -2...Int64.max) ?? -1
        if limit == 0 { throw options.refusal("num_predict", "must not be 0: the answer would be empty") }
        chat.maximumTokens = limit > 0 ? Int(clamping: limit) : nil
    }

    /// `true`, `false`, or how hard: `"low"`, `"medium"`, `"high"`.
    private static func showsThinking(_ fields: RequestFields) throws(RuntimeError) -> Bool {
        switch fields.json["think"] {
        case nil, .bool(true)?: return true
        case .bool(false)?: return false
        case .string("low")?, .string("medium")?, .string("high")?, .string("max")?: return true
        default: throw fields.refusal("think", "must be true, false, \"low\", \"medium\" or \"high\"")
        }
    }

    private static func shape(_ fields: RequestFields) throws(RuntimeError) -> AnswerShape {
        var shape = AnswerShape()
        for tool in try fields.objects("tools") {
            guard let function = try tool.nested("function") else {
                throw tool.refusal("function", "is required: an object with a name")
            }
            shape.tools.append(try function.tool())
        }
        switch fields.json["format"] {
        case nil, .string("")?: break
        case .string("json")?: shape.format = .jsonObject
        case .object(let schema)?: shape.format = .jsonSchema(name: "format", schema: .object(schema))
        default: throw fields.refusal("format", "must be \"json\" or a JSON Schema")
        }
        let alternatives = try fields.integer("top_logprobs", in: 0...20) ?? 0
        if try fields.flag("logprobs") == true { shape.logprobs = Int(alternatives) }
        return shape
    }

    // MARK: Generate

    private static func prompt(_ fields: RequestFields) throws(RuntimeError) -> [Message] {
        for name in ["suffix", "template", "context"] where fields.json[name].says { throw unsupported(name, fields) }
        if try fields.flag("raw") == true { throw unsupported("raw", fields) }
        if fields.json["images"].asksForSomething { throw unsupported("images", fields) }
        guard let prompt = try fields.text("prompt"), !prompt.isEmpty else { return [] }
        let system = try fields.text("system") ?? ""
        return (system.isEmpty ? [] : [Message(.system, system)]) + [Message(.user, prompt)]
    }

    static func unsupported(_ name: String, _ fields: RequestFields) -> RuntimeError {
        fields.refusal(name, "is not supported: this version's engines read text, in their own template")
    }
}

extension JSON? {
    /// Anything but nothing, an empty text included.
    fileprivate var says: Bool { self?.string != "" && asksForSomething }
}
