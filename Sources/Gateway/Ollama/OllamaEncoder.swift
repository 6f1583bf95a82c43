import Core
import Node

/// Writes one answer in Ollama's words: lines of JSON, the last of which has the counts, or one object.
struct OllamaEncoder: AnswerEncoder {
    static let streamType = "application/x-ndjson"

    private let form: OllamaRequest.Form
    private let showsThinking: Bool
    private let context: ContextReport
    /// `{"model":…,"created_at":` and what stands before the text.
    private let prefix: [UInt8]
    private let model: String
    private let clock: OllamaClock
    private var firstEvent: Duration?
    private var reason = FinishReason.stop
    /// A call is told whole: its pieces so far.
    private var calls = Message(.assistant, "")
    private var told = 0
    /// Go with the next piece of text.
    private var logprobs: [TokenProbability] = []

    init(_ request: OllamaRequest, answer: ChatAnswer, clock: OllamaClock) {
        form = request.form
        showsThinking = request.showsThinking
        context = answer.context
        model = request.name
        self.clock = clock
        var prefix = Array(#"{"model":"#.utf8)
        JSON.write(request.name, to: &prefix)
        prefix += Array(#","created_at":""#.utf8)
        self.prefix = prefix
    }

    // MARK: Lines

    func opening() -> [UInt8] { [] }

    mutating func piece(_ event: ChatEvent) -> [UInt8] {
        if firstEvent == nil { firstEvent = clock.elapsed() }
        switch event {
        case .text(_, let text): return line(text: text)
        case .reasoning(_, let text):
            guard showsThinking else { return [] }
            return line(
                form == .chat
                    ? ["message": ["role": "assistant", "content": "", "thinking": .string(text)]]
                    : ["response": "", "thinking": .string(text)])
        case .toolCall(_, let piece):
            let complete = piece.index > told ? tellCalls() : []
            // A piece that belongs nowhere is left out; the answer's turn is refused by those who keep it.
            try? calls.add(piece)
            return complete
        case .logprobs(_, let tokens):
            logprobs += tokens
            return []
        case .moved: return []
        case .finished(_, let reason, _):
            self.reason = reason
            return tellCalls()
        }
    }

    mutating func closing(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> [UInt8] {
        var fields: JSON.Object = JSON.Object()
        fill(Message(.assistant, ""), into: &fields)
        finish(&fields, usage)
        fields["igris"] = choices.first?.failovers.report
        return line(.object(fields), isLast: true)
    }

    static func failure(_ error: APIError) -> [UInt8] { OllamaError.body(error) + [UInt8(ascii: "\n")] }

    private mutating func tellCalls() -> [UInt8] {
        let ready = calls.toolCalls.dropFirst(told)
        guard !ready.isEmpty else { return [] }
        defer { told = calls.toolCalls.count }
        var fields = JSON.Object()
        fill(Message(.assistant, "", toolCalls: Array(ready)), into: &fields, from: told)
        return line(.object(fields))
    }

    /// By hand: it is written for every token.
    private mutating func line(text: String) -> [UInt8] {
        var bytes = prefix
        bytes.reserveCapacity(prefix.count + text.utf8.count + 128)
        bytes.append(contentsOf: clock.now().utf8)
        bytes.append(
            contentsOf: (form == .chat ? #"","message":{"role":"assistant","content":"# : #"","response":"#).utf8)
        JSON.write(text, to: &bytes)
        if form == .chat { bytes.append(UInt8(ascii: "}")) }
        if !logprobs.isEmpty {
            bytes.append(contentsOf: #","logprobs":"#.utf8)
            bytes.append(contentsOf: Self.json(logprobs).encoded)
            logprobs = []
        }
        bytes.append(contentsOf: ",\"done\":false}\n".utf8)
        return bytes
    }

    private func line(_ fields: JSON, isLast: Bool = false) -> [UInt8] {
        var object = frame
        for member in fields.object?.members ?? [] { object[member.key] = member.value }
        if !isLast { object["done"] = false }
        return JSON.object(object).encoded + [UInt8(ascii: "\n")]
    }

    // MARK: The whole answer

    func whole(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> JSON {
        var object = frame
        let choice = choices.first
        fill(choice?.message ?? Message(.assistant, ""), into: &object)
        if let logprobs = choice?.logprobs, !logprobs.isEmpty { object["logprobs"] = Self.json(logprobs) }
        var copy = self
        copy.reason = choice?.reason ?? .stop
        copy.finish(&object, usage)
        object["igris"] = choice?.failovers.report
        return .object(object)
    }

    // MARK: Parts

    private var frame: JSON.Object {
        var object = JSON.Object()
        object["model"] = .string(model)
        object["created_at"] = .string(clock.now())
        return object
    }

    private func fill(_ message: Message, into object: inout JSON.Object, from place: Int = 0) {
        let thoughts = showsThinking ? message.reasoning ?? "" : ""
        guard form == .chat else {
            object["response"] = .string(message.text)
            if !thoughts.isEmpty { object["thinking"] = .string(thoughts) }
            return
        }
        var fields = JSON.Object()
        fields["role"] = "assistant"
        fields["content"] = .string(message.text)
        if !thoughts.isEmpty { fields["thinking"] = .string(thoughts) }
        if !message.toolCalls.isEmpty {
            fields["tool_calls"] = .array(
                message.toolCalls.enumerated().map { index, call in
                    [
                        "id": .string(call.id),
                        "function": [
                            "index": .integer(Int64(place + index)), "name": .string(call.name),
                            "arguments": call.argumentsObject,
                        ],
                    ]
                })
        }
        object["message"] = .object(fields)
    }

    /// What the last line says: why it ended, what it took. Loading is no part of it: a model that is not loaded yet
    /// is waited for before the answer begins.
    private func finish(_ object: inout JSON.Object, _ usage: TokenUsage) {
        let total = clock.elapsed()
        let first = min(firstEvent ?? total, total)
        object["done"] = true
        object["done_reason"] = reason == .length ? "length" : "stop"
        object["total_duration"] = .integer(total.nanoseconds)
        object["load_duration"] = 0
        object["prompt_eval_count"] = .integer(Int64(usage.promptTokens))
        object["prompt_eval_duration"] = .integer(first.nanoseconds)
        object["eval_count"] = .integer(Int64(usage.completionTokens))
        object["eval_duration"] = .integer((total - first).nanoseconds)
    }

    private static func json(_ tokens: [TokenProbability]) -> JSON {
        .array(
            tokens.map { token in
                var object = fields(token.chosen)
                object["top_logprobs"] = .array(token.alternatives.map { .object(fields($0)) })
                return .object(object)
            })
    }

    private static func fields(_ token: TokenProbability.Alternative) -> JSON.Object {
        var object = JSON.Object()
        object["token"] = .string(token.token)
        object["logprob"] = .number(token.logprob)
        object["bytes"] = .array(token.bytes.map { .integer(Int64($0)) })
        return object
    }
}

/// What an ``OllamaEncoder`` tells of time.
struct OllamaClock: Sendable {
    /// The present as RFC 3339.
    var now: @Sendable () -> String
    /// Since the request came.
    var elapsed: @Sendable () -> Duration

    init(
        now: @escaping @Sendable () -> String = { Timestamp.now().description },
        elapsed: @escaping @Sendable () -> Duration
    ) {
        self.now = now
        self.elapsed = elapsed
    }
}
