internal import Core

extension ByteReader {
    private static let names = 4_096
    private static let texts = Limits.linkMessageBytes
    private static let tokens = Int(Int32.max)
    private static let dimensions = 1 << 20

    private mutating func content() throws(RuntimeError) -> String { try line(atMost: Self.texts) }

    mutating func line(atMost limit: Int) throws(RuntimeError) -> String {
        guard let text = String(validating: try lengthPrefixed(atMost: limit), as: UTF8.self) else {
            throw RuntimeError(.corrupt, "a text is not UTF-8")
        }
        return text
    }

    mutating func optional(atMost limit: Int) throws(RuntimeError) -> String? {
        try flag() ? try line(atMost: limit) : nil
    }

    mutating func number(_ range: ClosedRange<Int>) throws(RuntimeError) -> Int? {
        let value = try varint()
        guard value > 0 else { return nil }
        guard let number = Int(exactly: value - 1), range.contains(number) else { throw Self.outOfRange }
        return number
    }

    private mutating func flag() throws(RuntimeError) -> Bool {
        switch try byte() {
        case 0: false
        case 1: true
        default: throw Self.outOfRange
        }
    }

    private mutating func double() throws(RuntimeError) -> Double {
        let value = Double(bitPattern: try bigEndian64())
        guard !value.isNaN else { throw Self.outOfRange }
        return value
    }

    private mutating func real(_ range: ClosedRange<Double>) throws(RuntimeError) -> Double? {
        guard try flag() else { return nil }
        let value = try double()
        guard range.contains(value) else { throw Self.outOfRange }
        return value
    }

    private mutating func list(
        count limit: Int, of bytes: Int
    ) throws(RuntimeError) -> [String] {
        var list: [String] = []
        for _ in 0..<(try count(atMost: limit)) { list.append(try line(atMost: bytes)) }
        return list
    }

    private static var outOfRange: RuntimeError { RuntimeError(.corrupt, "a field is out of its range") }

    mutating func work() throws(RuntimeError) -> Work {
        switch try byte() {
        case WorkField.describe: return .describe
        case WorkField.generate:
            var request = try generationRequest()
            // A host of an older version says neither.
            if !isAtEnd { request.keepAlive = try keepAlive() }
            if !isAtEnd { request.isReadWhole = try flag() }
            return .generate(request)
        case WorkField.embed: return .embed(try list(count: Limits.embeddingInputs, of: Self.texts))
        case WorkField.count: return .count(try messages(), try shape())
        case WorkField.standBy: return .standBy(try standbyRequest())
        case WorkField.find: return .find(try dot())
        case WorkField.follow: return .follow(try dot())
        default: throw Self.outOfRange
        }
    }

    mutating func result() throws(RuntimeError) -> WorkResult {
        switch try byte() {
        case WorkField.description: return .description(try engineDescription())
        case WorkField.embeddings:
            let tokens = try number(0...Self.tokens) ?? 0
            var vectors: [[Float]] = []
            for _ in 0..<(try count(atMost: Limits.embeddingInputs)) {
                var vector: [Float] = []
                for _ in 0..<(try count(atMost: Self.dimensions)) {
                    let value = Float(bitPattern: try bigEndian32())
                    guard !value.isNaN else { throw Self.outOfRange }
                    vector.append(value)
                }
                vectors.append(vector)
            }
            return .embeddings(Embeddings(vectors: vectors, promptTokens: tokens))
        case WorkField.tokens: return .count(try number(0...Self.tokens))
        case WorkField.found: return .found(try flag() ? try answerFacts() : nil)
        default: throw Self.outOfRange
        }
    }

    private mutating func standbyRequest() throws(RuntimeError) -> StandbyRequest {
        let question = try dot()
        guard let conversation = ConversationID(try line(atMost: Limits.conversationIDBytes)) else {
            throw Self.outOfRange
        }
        let stream = StreamID(try bytes16())
        let owner = Owner(name: try line(atMost: Self.names))
        let chain = try lengthPrefixed(atMost: 64)
        var request = StandbyRequest(
            question: question, conversation: conversation, stream: stream, owner: owner, chain: chain,
            model: try line(atMost: Self.names), generation: try generationRequest(), facts: try answerFacts())
        for _ in 0..<(try count(atMost: Limits.standbys)) { request.standbys.append(NodeID(try bytes16())) }
        return request
    }

    private mutating func answerFacts() throws(RuntimeError) -> AnswerFacts {
        AnswerFacts(
            model: try line(atMost: Self.names), fingerprint: try line(atMost: Self.names),
            servedBy: NodeID(try bytes16()), promptTokens: try count(atMost: Self.tokens),
            contextLength: try count(atMost: Self.tokens), included: try count(atMost: Self.tokens),
            omitted: try count(atMost: Self.tokens))
    }

    private mutating func messages() throws(RuntimeError) -> [Message] {
        var messages: [Message] = []
        for _ in 0..<(try count(atMost: Limits.jsonItems)) {
            guard let role = Message.Role(rawValue: try line(atMost: Self.names)) else { throw Self.outOfRange }
            var message = Message(role, try content())
            message.reasoning = try optional(atMost: Self.texts)
            for _ in 0..<(try count(atMost: Limits.jsonItems)) {
                message.toolCalls.append(ToolCall(id: try content(), name: try content(), arguments: try content()))
            }
            message.toolCallID = try optional(atMost: Self.texts)
            messages.append(message)
        }
        return messages
    }

    private mutating func generationRequest() throws(RuntimeError) -> GenerationRequest {
        let messages = try messages()
        // No limit is as good as any that is never reached.
        let maximum = Int(clamping: try varint())
        guard maximum > 0 else { throw Self.outOfRange }
        let stop = try list(count: Limits.stopStrings, of: Limits.stopStringBytes)
        guard !stop.contains("") else { throw Self.outOfRange }
        var request = GenerationRequest(
            messages: messages, maximumTokens: maximum, stop: stop, sampling: try sampling(), shape: try shape(),
            rawPrompt: try optional(atMost: Self.texts))
        request.partial = try optional(atMost: Self.texts)
        if try flag() { request.affinity = try bytes16() }
        // A host of an older version has none.
        if !isAtEnd { request.ticket = try ticket() }
        return request
    }

    private mutating func keepAlive() throws(RuntimeError) -> KeepAlive? {
        switch try byte() {
        case 0: return nil
        case 1: return .unloaded
        case 2: return .forever
        case 3:
            let milliseconds = try varint()
            guard milliseconds <= 1_000_000_000_000 else { throw Self.outOfRange }
            return .loaded(.milliseconds(Int64(milliseconds)))
        default: throw Self.outOfRange
        }
    }

    private mutating func ticket() throws(RuntimeError) -> Ticket {
        var ticket = Ticket(caller: try bigEndian64())
        // A class of a newer version is none of ours.
        ticket.priority = Ticket.Priority(rawValue: try line(atMost: Self.names)) ?? .normal
        let patience = try number(0...Int(Limits.queuePatience.components.seconds) * 1_000)
        ticket.patience = patience.map { .milliseconds($0) }
        ticket.moves = try count(atMost: Self.tokens)
        return ticket
    }

    private mutating func sampling() throws(RuntimeError) -> Sampling {
        var sampling = Sampling()
        sampling.temperature = try real(0...2)
        sampling.topP = try real(0...1)
        sampling.minP = try real(0...1)
        sampling.presencePenalty = try real(-2...2)
        sampling.frequencyPenalty = try real(-2...2)
        sampling.topK = try number(0...Self.tokens)
        if try flag() { sampling.seed = try bigEndian64() }
        for _ in 0..<(try count(atMost: Limits.jsonItems)) {
            let token = try count(atMost: Self.tokens)
            let bias = try double()
            guard (-100...100).contains(bias) else { throw Self.outOfRange }
            sampling.logitBias[token] = bias
        }
        return sampling
    }

    private mutating func shape() throws(RuntimeError) -> AnswerShape {
        var shape = AnswerShape()
        switch try byte() {
        case WorkField.text: break
        case WorkField.jsonObject: shape.format = .jsonObject
        case WorkField.jsonSchema:
            shape.format = .jsonSchema(name: try line(atMost: Self.names), schema: try json())
        default: throw Self.outOfRange
        }
        for _ in 0..<(try count(atMost: Limits.jsonItems)) {
            var tool = Tool(name: try line(atMost: Self.names))
            tool.description = try optional(atMost: Self.texts)
            if try flag() { tool.parameters = try json() }
            tool.isStrict = try flag()
            shape.tools.append(tool)
        }
        switch try byte() {
        case WorkField.auto: shape.toolChoice = .auto
        case WorkField.noTool: shape.toolChoice = .none
        case WorkField.required: shape.toolChoice = .required
        case WorkField.named: shape.toolChoice = .named(try line(atMost: Self.names))
        default: throw Self.outOfRange
        }
        shape.parallelToolCalls = try number(0...1).map { $0 == 1 }
        shape.logprobs = try number(0...1_000)
        return shape
    }

    private mutating func json() throws(RuntimeError) -> JSON {
        do {
            return try JSON.parse(try lengthPrefixed(atMost: Self.texts))
        } catch {
            throw RuntimeError(.corrupt, "a schema is no JSON")
        }
    }

    mutating func event() throws(RuntimeError) -> GenerationEvent {
        switch try byte() {
        case WorkField.textPiece: return .text(try content())
        case WorkField.reasoning: return .reasoning(try content())
        case WorkField.toolCall:
            let index = try count(atMost: Limits.engineToolCalls)
            var piece = ToolCallPiece(index: index)
            piece.id = try optional(atMost: Self.texts)
            piece.name = try optional(atMost: Self.texts)
            piece.arguments = try content()
            return .toolCall(piece)
        case WorkField.logprobs:
            var tokens: [TokenProbability] = []
            for _ in 0..<(try count(atMost: Limits.jsonItems)) {
                var token = TokenProbability(chosen: try alternative(), alternatives: [])
                for _ in 0..<(try count(atMost: 1_000)) { token.alternatives.append(try alternative()) }
                tokens.append(token)
            }
            return .logprobs(tokens)
        case WorkField.finished:
            guard let reason = FinishReason(rawValue: try line(atMost: Self.names)), reason.isComplete else {
                throw Self.outOfRange
            }
            var usage = TokenUsage(
                promptTokens: try count(atMost: Self.tokens), completionTokens: try count(atMost: Self.tokens),
                cachedTokens: try count(atMost: Self.tokens), isExact: try flag())
            usage.stop = try optional(atMost: Limits.stopStringBytes)
            return .finished(reason: reason, usage: usage)
        default: throw Self.outOfRange
        }
    }

    /// Nil for one of a newer version.
    mutating func queueExit() throws(RuntimeError) -> QueueExit? {
        switch try byte() {
        case WorkField.full: .full(position: try count(atMost: Self.tokens))
        case WorkField.movedOn: .moved(to: NodeID(try bytes16()))
        case WorkField.expired: .expired(position: try count(atMost: Self.tokens))
        default: nil
        }
    }

    private mutating func alternative() throws(RuntimeError) -> TokenProbability.Alternative {
        TokenProbability.Alternative(
            token: try content(), bytes: try lengthPrefixed(atMost: Self.names), logprob: try double())
    }

    private mutating func engineDescription() throws(RuntimeError) -> EngineDescription {
        let kind = try line(atMost: Self.names)
        let fingerprint = try line(atMost: Self.names)
        let context = try count(atMost: Self.tokens)
        let perByte = try double()
        // As engines of our own protocol may say it.
        guard context > 0, (0...1_000).contains(perByte) else { throw Self.outOfRange }
        let cost = TokenCost(
            perByte: perByte, perMessage: try count(atMost: 100_000), fixed: try count(atMost: 1_000_000),
            isExact: try flag())
        let fields = try list(count: 64, of: Self.names)
        let words = try list(count: 64, of: Self.names)
        return EngineDescription(
            kind: kind, fingerprint: fingerprint, contextLength: context, tokenCost: cost,
            samplingFields: Set(fields), capabilities: Set(words.compactMap(EngineCapability.init(rawValue:))))
    }
}
