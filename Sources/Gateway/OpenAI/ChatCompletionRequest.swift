import Core
import HTTPTypes

/// A `POST /v1/chat/completions` understood: the canonical request, and how the client wants to be answered.
///
/// Unknown fields are ignored. A field that asks for something which no engine can do is refused by its name; the same
/// field with its harmless default is accepted, because client libraries send those. What some engines can do is for
/// the node to judge.
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
        let model = try fields.model()
        try Self.refuseUnsupported(fields)
        streams = try fields.flag("stream") ?? false
        includesUsage = try fields.includesUsage()
        chat = ChatRequest(model: model, messages: try Self.messages(fields))
        chat.continuation = try Self.continuation(fields, headers)
        chat.user = try fields.user()
        let limit = try fields.integer("max_completion_tokens", in: 1...Int64.max)
        let olderLimit = try fields.integer("max_tokens", in: 1...Int64.max)
        chat.maximumTokens = (limit ?? olderLimit).map { Int(clamping: $0) }
        chat.stop = try fields.stop()
        chat.sampling = try fields.sampling()
        chat.shape = try Self.shape(fields)
        chat.choices = Int(clamping: try fields.integer("n", in: 1...Int64(Limits.choices)) ?? 1)
        chat.idempotencyKey = try RequestFields.idempotencyKey(headers)
        chat.isRetry = RequestFields.isRetry(headers)
        try chat.readTurn(fields, headers)
        chat.annotation = try StoredCompletions.annotation(fields, messages: chat.messages.count)
        chat.asksAnew = chat.annotation != nil
    }

    /// Which conversation (design.md §3): the body speaks first, then the header, then the metadata.
    private static func continuation(
        _ fields: RequestFields, _ headers: HTTPFields
    ) throws(RuntimeError) -> ChatRequest.Continuation {
        let remark = try fields.metadata()?["conversation_id"]?.string
        if try fields.flag("store") == false { return .off }
        if let value = fields.json["conversation"] {
            return .conversation(
                try RequestFields.conversation(value.string ?? value["id"]?.string, "conversation"))
        }
        if let header = headers[.conversationID] {
            return .conversation(try RequestFields.conversation(header, "X-Conversation-Id"))
        }
        if let remark {
            return .conversation(try RequestFields.conversation(remark, "metadata.conversation_id"))
        }
        return .automatic
    }
}
