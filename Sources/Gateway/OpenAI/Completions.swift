import Core
import HTTPTypes
import Node

/// `POST /v1/completions`: the model goes on from a text as it stands. Nothing of it is kept.
struct Completions: Sendable {
    let flow: AnswerFlow

    func respond(to exchange: Exchange, caller: Owner, body: [UInt8], _ writer: ReplyWriter) async throws {
        let json = try JSON.parse(body)
        guard json.object != nil else {
            throw RuntimeError(.invalidRequest, "the body must be a JSON object with \"model\" and \"prompt\"")
        }
        let fields = RequestFields(json: json)
        let request = try Self.request(fields, exchange.head.headerFields)
        let includesUsage = try fields.includesUsage()
        try await flow.answer(
            request, streams: try fields.flag("stream") ?? false, to: exchange, caller: caller, writer
        ) { CompletionEncoder(model: request.model, answer: $0, includesUsage: includesUsage) }
    }

    static func request(_ fields: RequestFields, _ headers: HTTPFields) throws(RuntimeError) -> ChatRequest {
        var request = ChatRequest(model: try fields.model(), messages: [], continuation: .off)
        request.rawPrompt = try prompt(fields)
        if try fields.flag("echo") == true {
            throw fields.refusal("echo", "is not supported; put the prompt before the answer yourself")
        }
        if let suffix = try fields.text("suffix"), !suffix.isEmpty {
            throw fields.refusal("suffix", "is not supported: no engine of this version fills in the middle")
        }
        if try fields.integer("logprobs", in: 0...5) != nil {
            throw fields.refusal("logprobs", "is not supported here; ask /v1/chat/completions for them")
        }
        request.choices = Int(clamping: try fields.integer("n", in: 1...Int64(Limits.choices)) ?? 1)
        if let best = try fields.integer("best_of", in: 1...Int64(Limits.choices)), best != request.choices {
            throw fields.refusal("best_of", "must be what n is: all that is written is given back")
        }
        // OpenAI's own default.
        request.maximumTokens = Int(clamping: try fields.integer("max_tokens", in: 1...Int64.max) ?? 16)
        request.stop = try fields.stop()
        request.sampling = try fields.sampling()
        request.user = try fields.user()
        try request.readTurn(fields, headers)
        return request
    }

    private static func prompt(_ fields: RequestFields) throws(RuntimeError) -> String {
        guard let value = fields.json["prompt"] else { throw fields.refusal("prompt", "is required: a string") }
        let text = value.string ?? value.array.flatMap { $0.count == 1 ? $0[0].string : nil }
        guard let text, !text.isEmpty else {
            throw fields.refusal("prompt", "must be one string: send several prompts, or tokens, as requests of text")
        }
        return text
    }
}

/// Writes an answer as `text_completion` objects.
struct CompletionEncoder: AnswerEncoder {
    private let id = "cmpl-\(AnswerID.random())"
    private let model: String
    private let created: Int64
    private let fingerprint: String
    private let includesUsage: Bool

    init(model: String, answer: ChatAnswer, includesUsage: Bool) {
        self.model = model
        self.includesUsage = includesUsage
        created = answer.created
        fingerprint = answer.fingerprint
    }

    func opening() -> [UInt8] { [] }

    func piece(_ event: ChatEvent) -> [UInt8] {
        switch event {
        case .text(let choice, let text): chunk([Self.choice(choice, text, nil)], nil)
        case .finished(let choice, let reason, _): chunk([Self.choice(choice, "", reason)], nil)
        case .reasoning, .toolCall, .logprobs, .moved: []
        }
    }

    func closing(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> [UInt8] {
        (includesUsage ? chunk([], usage) : []) + ChatCompletionEncoder.end
    }

    static func failure(_ error: APIError) -> [UInt8] { ChatCompletionEncoder.failure(error) }

    func whole(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> JSON {
        object(choices.enumerated().map { Self.choice($0, $1.message.text, $1.reason) }, usage)
    }

    private func chunk(_ choices: [JSON], _ usage: TokenUsage?) -> [UInt8] {
        Array("data: ".utf8) + object(choices, usage).encoded + Array("\n\n".utf8)
    }

    private static func choice(_ index: Int, _ text: String, _ reason: FinishReason?) -> JSON {
        [
            "index": .integer(Int64(index)), "text": .string(text), "logprobs": nil,
            "finish_reason": reason.map { $0 == .length ? "length" : "stop" } ?? .null,
        ]
    }

    private func object(_ choices: [JSON], _ usage: TokenUsage?) -> JSON {
        var object = JSON.Object()
        object["id"] = .string(id)
        object["object"] = "text_completion"
        object["created"] = .integer(created)
        object["model"] = .string(model)
        object["system_fingerprint"] = .string(fingerprint)
        object["choices"] = .array(choices)
        if let usage { object["usage"] = usage.json }
        return .object(object)
    }
}
