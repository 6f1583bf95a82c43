import Core

/// Reads a streamed answer of the OpenAI API, of chat and of plain completions. A pure machine: bytes in, events out.
struct ChatStream: Sendable {
    private let subject: String
    private let alternatives: Int?
    private let outputLimit: Int
    private let estimate: Int
    /// Tokens at the end of the prompt that are the answer's beginning; nil for none.
    private let written: Int?
    /// That beginning is all the answer may have: what the upstream writes all the same is left out.
    private let isSpent: Bool
    private var events = EventStreamParser(limit: Limits.engineEventBytes)
    private var reason: FinishReason?
    private var usage: TokenUsage?
    /// The upstream's number of each tool call, in our order.
    private var calls: [Int64] = []
    /// Where the server is not asked to look for stop strings, because it would not tell which one it found.
    private var finder: StopFinder?
    private var stop: String?
    private var bytes = 0
    private var pieces = 0
    /// The last event has been given out.
    private(set) var isComplete = false

    /// - Parameters:
    ///   - subject: Who answers, for messages: `the engine of NAME`.
    ///   - estimate: The prompt's tokens, should the upstream not count them.
    ///   - written: Of the prompt's tokens, those that are the answer's beginning.
    ///   - stops: Stop strings that are found here.
    init(
        subject: String, request: GenerationRequest, estimate: Int, outputLimit: Int, written: Int? = nil,
        stops: [String] = []
    ) {
        self.written = written
        isSpent = written.map { $0 >= request.maximumTokens } ?? false
        finder = stops.isEmpty ? nil : StopFinder(stops)
        self.subject = subject
        self.estimate = estimate
        self.outputLimit = outputLimit
        alternatives = request.shape.logprobs
    }

    /// - Throws: ``RuntimeError`` `.engineFailed`, or what the upstream reports in the stream.
    mutating func append(_ bytes: [UInt8]) throws(RuntimeError) -> [GenerationEvent] {
        var result: [GenerationEvent] = []
        let complete: [[UInt8]]
        do throws(RuntimeError) {
            complete = try events.append(bytes)
        } catch {
            throw RuntimeError(.engineFailed, "\(subject) wrote an event without end")
        }
        for data in complete where !isComplete {
            if data.elementsEqual("[DONE]".utf8) {
                result.append(try finish())
            } else {
                guard let json = try? JSON.parse(data), json.object != nil else {
                    throw RuntimeError(.engineFailed, "\(subject) wrote an event that is no JSON object")
                }
                try read(json, into: &result)
            }
        }
        return result
    }

    /// An answer that was not streamed, as its one JSON text: all of its events.
    ///
    /// - Throws: as ``append(_:)``.
    mutating func whole(_ body: [UInt8]) throws(RuntimeError) -> [GenerationEvent] {
        guard let json = try? JSON.parse(body), json.object != nil else {
            throw RuntimeError(.engineFailed, "\(subject) wrote an answer that is no JSON object")
        }
        var result: [GenerationEvent] = []
        try read(json, into: &result)
        if !isComplete { result.append(try finish()) }
        return result
    }

    /// The answer's last event: at `[DONE]`, or when the response has ended well.
    mutating func finish() throws(RuntimeError) -> GenerationEvent {
        guard var reason else {
            throw RuntimeError(.engineFailed, "\(subject) ended in the middle of its answer; try again")
        }
        isComplete = true
        // A model that calls tools waits for them, whatever its server says; what was cut off is not complete.
        if reason == .stop, !calls.isEmpty { reason = .toolCalls }
        var usage = usage ?? TokenUsage(promptTokens: estimate, completionTokens: pieces, isExact: false)
        if let written {
            usage.promptTokens = max(0, usage.promptTokens - written)
            usage.cachedTokens = min(usage.cachedTokens, usage.promptTokens)
            usage.completionTokens = written + (isSpent ? 0 : usage.completionTokens)
        }
        usage.stop = isSpent ? nil : stop
        return .finished(reason: isSpent ? .length : reason, usage: usage)
    }

    private mutating func read(_ json: JSON, into result: inout [GenerationEvent]) throws(RuntimeError) {
        if let error = json["error"] { throw UpstreamError(subject).reported(error, status: 500) }
        if let usage = json["usage"], usage.object != nil {
            self.usage = TokenUsage(
                promptTokens: Self.count(usage["prompt_tokens"]),
                completionTokens: Self.count(usage["completion_tokens"]),
                cachedTokens: Self.count(usage["prompt_tokens_details"]?["cached_tokens"]))
        }
        if finder != nil, let timings = json["timings"], timings.object != nil {
            let cached = Self.count(timings["cache_n"])
            usage = TokenUsage(
                promptTokens: cached + Self.count(timings["prompt_n"]),
                completionTokens: Self.count(timings["predicted_n"]), cachedTokens: cached)
        }
        for choice in json["choices"]?.array ?? [] where choice["index"]?.integer ?? 0 == 0 {
            try read(choice: choice, into: &result)
            guard !isComplete else { return }
        }
    }

    private mutating func read(choice: JSON, into result: inout [GenerationEvent]) throws(RuntimeError) {
        let delta = isSpent ? nil : choice["delta"] ?? choice["message"]
        if let thought = delta?["reasoning_content"]?.string ?? delta?["reasoning"]?.string, !thought.isEmpty {
            try grow(by: thought.utf8.count)
            result.append(.reasoning(thought))
        }
        if let alternatives, let tokens = choice["logprobs"]?["content"]?.array, !tokens.isEmpty {
            result.append(.logprobs(tokens.map { Self.probability($0, alternatives: alternatives) }))
        }
        if let text = delta?["content"]?.string ?? choice["text"]?.string, !text.isEmpty, !isSpent {
            try grow(by: text.utf8.count)
            let (text, stop) = finder?.append(text) ?? (text, nil)
            if !text.isEmpty { result.append(.text(text)) }
            if let stop {
                self.stop = stop
                reason = .stop
                result.append(try finish())
                return
            }
        }
        for piece in delta?["tool_calls"]?.array ?? [] { result.append(try call(piece)) }
        if let word = choice["finish_reason"]?.string {
            if let rest = finder?.finish(), !rest.isEmpty { result.append(.text(rest)) }
            // vLLM's word for the string that it found.
            if let found = choice["stop_reason"]?.string { stop = found }
            switch word {
            case "length", "max_tokens": reason = .length
            case "tool_calls", "function_call": reason = .toolCalls
            default: reason = .stop
            }
        }
    }

    private mutating func grow(by count: Int) throws(RuntimeError) {
        pieces += 1
        bytes += count
        guard bytes <= outputLimit else {
            throw RuntimeError(.engineFailed, "the answer grew past \(outputLimit) bytes and was stopped")
        }
    }

    private mutating func call(_ piece: JSON) throws(RuntimeError) -> GenerationEvent {
        let function = piece["function"]
        let name = function?["name"]?.string
        let arguments = function?["arguments"].map { $0.string ?? $0.text } ?? ""
        try grow(by: arguments.utf8.count)
        // Some servers number nothing: a new id, or a name without one, begins the next call.
        let isNumbered = piece["index"]?.integer != nil
        let begins = piece["id"]?.string != nil || name != nil
        let number = piece["index"]?.integer ?? Int64(begins ? calls.count : calls.count - 1)
        if let index = calls.firstIndex(of: number), isNumbered || !begins {
            return .toolCall(ToolCallPiece(index: index, arguments: arguments))
        }
        guard let name, !name.isEmpty else {
            throw RuntimeError(.engineFailed, "\(subject) sent a piece of a tool call that had not begun")
        }
        guard calls.count < Limits.engineToolCalls else {
            throw RuntimeError(.engineFailed, "\(subject) called more than \(Limits.engineToolCalls) tools at once")
        }
        calls.append(number)
        let id = piece["id"]?.string ?? "call_\(String(UInt64.random(in: .min ... .max), radix: 36))"
        return .toolCall(ToolCallPiece(index: calls.count - 1, id: id, name: name, arguments: arguments))
    }

    private static func probability(_ json: JSON, alternatives: Int) -> TokenProbability {
        TokenProbability(
            chosen: alternative(json),
            alternatives: (json["top_logprobs"]?.array ?? []).prefix(alternatives).map(alternative))
    }

    private static func alternative(_ json: JSON) -> TokenProbability.Alternative {
        let token = json["token"]?.string ?? ""
        let bytes = json["bytes"]?.array?.compactMap { $0.integer.flatMap(UInt8.init(exactly:)) }
        // Impossible tokens have no finite logarithm: OpenAI's own word for it is -9999.
        return TokenProbability.Alternative(
            token: token, bytes: bytes ?? Array(token.utf8), logprob: json["logprob"]?.number ?? -9_999)
    }

    /// Bounded, so that nobody who adds them up has to fear an overflow.
    static func count(_ json: JSON?) -> Int {
        Int(clamping: min(Int64(Int32.max), max(0, json?.integer ?? 0)))
    }
}
