import Core
import HTTPTypes

/// A `POST /v1/chat/completions` understood: the canonical request, and how the client wants to be answered.
///
/// Unknown fields are ignored. A field that asks for something which no engine of this version can do is refused by
/// its name; the same field with its harmless default is accepted, because client libraries send those.
struct ChatCompletionRequest {
    var chat: ChatRequest
    var streams: Bool
    /// The stream ends with a chunk that counts the tokens.
    var includesUsage: Bool

    /// Throws ``RuntimeError`` `.invalidRequest` with the field's name.
    init(_ json: JSON, headers: HTTPFields) throws(RuntimeError) {
        guard json.object != nil else {
            throw RuntimeError(.invalidRequest, "the body must be a JSON object with \"model\" and \"messages\"")
        }
        let fields = RequestFields(json: json)
        guard let model = try fields.text("model"), !model.isEmpty, model.utf8.count <= Self.modelNameBytes else {
            throw fields.refusal("model", "is required: the name of one of GET /v1/models")
        }
        try Self.refuseUnsupported(fields)
        streams = try fields.flag("stream") ?? false
        let options = try fields.object("stream_options")
        includesUsage =
            try options.map { options throws(RuntimeError) in
                try RequestFields(json: .object(options), path: "stream_options.").flag("include_usage") ?? false
            } ?? false
        chat = ChatRequest(model: model, messages: try Self.messages(fields))
        chat.continuation = try Self.continuation(fields, headers)
        chat.user = try Self.user(fields)
        let limit = try fields.integer("max_completion_tokens", in: 1...Int64.max)
        let olderLimit = try fields.integer("max_tokens", in: 1...Int64.max)
        chat.maximumTokens = (limit ?? olderLimit).map { Int(clamping: $0) }
        chat.stop = try Self.stop(fields)
        chat.sampling = try Self.sampling(fields)
        chat.choices = Int(clamping: try fields.integer("n", in: 1...Int64(Limits.choices)) ?? 1)
        chat.idempotencyKey = try Self.idempotencyKey(headers)
        chat.isRetry = (headers[.stainlessRetryCount].flatMap { Int($0) } ?? 0) >= 1
    }

    private static let modelNameBytes = 512
    private static let userBytes = 512
    private static let metadata = (pairs: 16, keyBytes: 64, valueBytes: 512)

    private static func sampling(_ fields: RequestFields) throws(RuntimeError) -> Sampling {
        var sampling = Sampling()
        sampling.temperature = try fields.number("temperature", in: 0...2)
        sampling.topP = try fields.number("top_p", in: 0...1)
        sampling.topK = try fields.integer("top_k", in: 0...Int64(Int32.max)).map { Int($0) }
        sampling.minP = try fields.number("min_p", in: 0...1)
        sampling.seed = try fields.integer("seed", in: Int64.min...Int64.max).map { UInt64(bitPattern: $0) }
        sampling.presencePenalty = try fields.number("presence_penalty", in: -2...2)
        sampling.frequencyPenalty = try fields.number("frequency_penalty", in: -2...2)
        return sampling
    }

    private static func stop(_ fields: RequestFields) throws(RuntimeError) -> [String] {
        guard let value = fields.json["stop"] else { return [] }
        let strings = value.string.map { [$0] } ?? value.array?.compactMap(\.string) ?? []
        let isComplete = value.array.map { $0.count == strings.count } ?? (value.string != nil)
        guard isComplete, strings.count <= Limits.stopStrings,
            strings.allSatisfy({ !$0.isEmpty && $0.utf8.count <= Limits.stopStringBytes })
        else {
            throw fields.refusal(
                "stop",
                "must be a string or at most \(Limits.stopStrings) strings of 1 to \(Limits.stopStringBytes) bytes")
        }
        return strings
    }

    private static func user(_ fields: RequestFields) throws(RuntimeError) -> String? {
        guard let user = try fields.text("user"), !user.isEmpty else { return nil }
        guard user.utf8.count <= userBytes else { throw fields.refusal("user", "is longer than \(userBytes) bytes") }
        return user
    }

    /// Which conversation (design.md §3): the body speaks first, then the header, then the metadata.
    private static func continuation(
        _ fields: RequestFields, _ headers: HTTPFields
    ) throws(RuntimeError) -> ChatRequest.Continuation {
        let remark = try metadata(fields)?["conversation_id"]?.string
        if try fields.flag("store") == false { return .off }
        if let value = fields.json["conversation"] {
            return .conversation(try conversation(value.string ?? value["id"]?.string, "conversation"))
        }
        if let header = headers[.conversationID] {
            return .conversation(try conversation(header, "X-Conversation-Id"))
        }
        if let remark { return .conversation(try conversation(remark, "metadata.conversation_id")) }
        return .automatic
    }

    private static func conversation(_ text: String?, _ name: String) throws(RuntimeError) -> ConversationID {
        guard let text, let id = ConversationID(text) else {
            throw RuntimeError(
                .invalidRequest,
                "\(name) must be an id of 1 to \(Limits.conversationIDBytes) visible ASCII characters", parameter: name)
        }
        return id
    }

    private static func metadata(_ fields: RequestFields) throws(RuntimeError) -> JSON.Object? {
        guard let object = try fields.object("metadata") else { return nil }
        let isSound = object.members.allSatisfy { member in
            guard let text = member.value.string else { return false }
            return member.key.utf8.count <= metadata.keyBytes && text.utf8.count <= metadata.valueBytes
        }
        guard isSound, object.members.count <= metadata.pairs else {
            throw fields.refusal(
                "metadata",
                "must hold at most \(metadata.pairs) strings of \(metadata.valueBytes) bytes under names of "
                    + "\(metadata.keyBytes)")
        }
        return object
    }

    private static func idempotencyKey(_ headers: HTTPFields) throws(RuntimeError) -> String? {
        guard let key = headers[.idempotencyKey] else { return nil }
        guard !key.isEmpty, key.utf8.count <= Limits.idempotencyKeyBytes else {
            throw RuntimeError(
                .invalidRequest, "Idempotency-Key must have 1 to \(Limits.idempotencyKeyBytes) characters",
                parameter: "Idempotency-Key")
        }
        return key
    }
}
