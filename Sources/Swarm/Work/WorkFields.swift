internal import Core

/// The values that ``WorkMessage`` carries. Fields follow one another; what a newer host adds behind the last is passed
/// over. Whatever comes in is bounded, and within the ranges that a client's request must keep.
extension ByteWriter {
    mutating func put(text: String) { put(lengthPrefixed: text.utf8) }

    mutating func put(optional text: String?) {
        put(text == nil ? 0 : 1)
        if let text { put(text: text) }
    }

    /// Nil is 0, any number one more than itself.
    mutating func put(number: Int?) {
        put(varint: number.map { min(UInt64(clamping: $0), UInt64(Int64.max)) + 1 } ?? 0)
    }

    private mutating func put(real: Double?) {
        put(real == nil ? 0 : 1)
        if let real { put(bigEndian: real.bitPattern) }
    }

    private mutating func put(texts: [String]) {
        put(varint: UInt64(texts.count))
        for text in texts { put(text: text) }
    }

    mutating func put(_ work: Work) {
        switch work {
        case .describe: put(WorkField.describe)
        case .generate(let request):
            put(WorkField.generate)
            put(request)
            put(request.keepAlive)
            put(request.isReadWhole ? 1 : 0)
        case .embed(let texts):
            put(WorkField.embed)
            put(texts: texts)
        case .count(let messages, let shape):
            put(WorkField.count)
            put(messages)
            put(shape)
        case .standBy(let request):
            put(WorkField.standBy)
            put(request)
        case .find(let question):
            put(WorkField.find)
            put(question)
        case .follow(let question):
            put(WorkField.follow)
            put(question)
        }
    }

    mutating func put(_ result: WorkResult) {
        switch result {
        case .description(let description):
            put(WorkField.description)
            put(description)
        case .embeddings(let embeddings):
            put(WorkField.embeddings)
            put(number: embeddings.promptTokens)
            put(varint: UInt64(embeddings.vectors.count))
            for vector in embeddings.vectors {
                put(varint: UInt64(vector.count))
                for value in vector { put(bigEndian: value.bitPattern) }
            }
        case .count(let tokens):
            put(WorkField.tokens)
            put(number: tokens)
        case .found(let facts):
            put(WorkField.found)
            put(facts == nil ? 0 : 1)
            if let facts { put(facts) }
        }
    }

    private mutating func put(_ request: StandbyRequest) {
        put(request.question)
        put(text: request.conversation.rawValue)
        put(request.stream.bytes)
        put(text: request.owner.name)
        put(lengthPrefixed: request.chain)
        put(text: request.model)
        put(request.generation)
        put(request.facts)
        put(varint: UInt64(request.standbys.count))
        for node in request.standbys { put(node.bytes) }
    }

    private mutating func put(_ facts: AnswerFacts) {
        put(text: facts.model)
        put(text: facts.fingerprint)
        put(facts.servedBy.bytes)
        for count in [facts.promptTokens, facts.contextLength, facts.included, facts.omitted] {
            put(varint: UInt64(clamping: count))
        }
    }

    private mutating func put(_ messages: [Message]) {
        put(varint: UInt64(messages.count))
        for message in messages {
            put(text: message.role.rawValue)
            put(text: message.text)
            put(optional: message.reasoning)
            put(varint: UInt64(message.toolCalls.count))
            for call in message.toolCalls { for part in [call.id, call.name, call.arguments] { put(text: part) } }
            put(optional: message.toolCallID)
        }
    }

    private mutating func put(_ request: GenerationRequest) {
        put(request.messages)
        put(varint: UInt64(clamping: request.maximumTokens))
        put(texts: request.stop)
        put(request.sampling)
        put(request.shape)
        put(optional: request.rawPrompt)
        put(optional: request.partial)
        put(request.affinity == nil ? 0 : 1)
        if let affinity = request.affinity { put(affinity) }
        put(request.ticket)
    }

    /// Nil is 0, at once 1, for ever 2; then milliseconds follow.
    private mutating func put(_ keepAlive: KeepAlive?) {
        switch keepAlive {
        case nil: put(0)
        case .unloaded: put(1)
        case .forever: put(2)
        case .loaded(let duration):
            put(3)
            put(varint: UInt64(clamping: Self.milliseconds(duration)))
        }
    }

    private mutating func put(_ ticket: Ticket) {
        put(bigEndian: ticket.caller)
        put(text: ticket.priority.rawValue)
        put(number: ticket.patience.map { Self.milliseconds(min(max(.zero, $0), Limits.queuePatience)) })
        put(varint: UInt64(clamping: ticket.moves))
    }

    private static func milliseconds(_ duration: Duration) -> Int {
        Int(duration.components.seconds) * 1_000 + Int(duration.components.attoseconds / 1_000_000_000_000_000)
    }

    private mutating func put(_ sampling: Sampling) {
        for value in [
            sampling.temperature, sampling.topP, sampling.minP, sampling.presencePenalty, sampling.frequencyPenalty,
        ] { put(real: value) }
        put(number: sampling.topK)
        put(sampling.seed == nil ? 0 : 1)
        if let seed = sampling.seed { put(bigEndian: seed) }
        put(varint: UInt64(sampling.logitBias.count))
        for (token, bias) in sampling.logitBias.sorted(by: { $0.key < $1.key }) {
            put(varint: UInt64(clamping: token))
            put(bigEndian: bias.bitPattern)
        }
    }

    private mutating func put(_ shape: AnswerShape) {
        switch shape.format {
        case .text: put(WorkField.text)
        case .jsonObject: put(WorkField.jsonObject)
        case .jsonSchema(let name, let schema):
            put(WorkField.jsonSchema)
            put(text: name)
            put(lengthPrefixed: schema.encoded)
        }
        put(varint: UInt64(shape.tools.count))
        for tool in shape.tools {
            put(text: tool.name)
            put(optional: tool.description)
            put(optional: tool.parameters?.text)
            put(tool.isStrict ? 1 : 0)
        }
        switch shape.toolChoice {
        case .auto: put(WorkField.auto)
        case .none: put(WorkField.noTool)
        case .required: put(WorkField.required)
        case .named(let name):
            put(WorkField.named)
            put(text: name)
        }
        put(number: shape.parallelToolCalls.map { $0 ? 1 : 0 })
        put(number: shape.logprobs)
    }

    mutating func put(_ event: GenerationEvent) {
        switch event {
        case .text(let text):
            put(WorkField.textPiece)
            put(text: text)
        case .reasoning(let text):
            put(WorkField.reasoning)
            put(text: text)
        case .toolCall(let piece):
            put(WorkField.toolCall)
            put(varint: UInt64(clamping: piece.index))
            put(optional: piece.id)
            put(optional: piece.name)
            put(text: piece.arguments)
        case .logprobs(let tokens):
            put(WorkField.logprobs)
            put(varint: UInt64(tokens.count))
            for token in tokens {
                put(token.chosen)
                put(varint: UInt64(token.alternatives.count))
                for alternative in token.alternatives { put(alternative) }
            }
        case .finished(let reason, let usage):
            put(WorkField.finished)
            put(text: reason.rawValue)
            for count in [usage.promptTokens, usage.completionTokens, usage.cachedTokens] {
                put(varint: UInt64(clamping: count))
            }
            put(usage.isExact ? 1 : 0)
            put(optional: usage.stop)
        // Of the one who asks alone.
        case .moved: put(WorkField.moved)
        }
    }

    mutating func put(_ exit: QueueExit) {
        switch exit {
        case .full(let position):
            put(WorkField.full)
            put(varint: UInt64(clamping: position))
        case .moved(let node):
            put(WorkField.movedOn)
            put(node.bytes)
        case .expired(let position):
            put(WorkField.expired)
            put(varint: UInt64(clamping: position))
        }
    }

    private mutating func put(_ alternative: TokenProbability.Alternative) {
        put(text: alternative.token)
        put(lengthPrefixed: alternative.bytes)
        put(bigEndian: alternative.logprob.bitPattern)
    }

    private mutating func put(_ description: EngineDescription) {
        put(text: description.kind)
        put(text: description.fingerprint)
        put(varint: UInt64(clamping: description.contextLength))
        put(bigEndian: description.tokenCost.perByte.bitPattern)
        put(varint: UInt64(clamping: description.tokenCost.perMessage))
        put(varint: UInt64(clamping: description.tokenCost.fixed))
        put(description.tokenCost.isExact ? 1 : 0)
        put(texts: description.samplingFields.sorted())
        put(texts: description.capabilities.map(\.rawValue).sorted())
    }
}

/// Which of several forms follows.
enum WorkField {
    static let describe: UInt8 = 1
    static let generate: UInt8 = 2
    static let embed: UInt8 = 3
    static let count: UInt8 = 4
    static let standBy: UInt8 = 5
    static let find: UInt8 = 6
    static let follow: UInt8 = 7

    static let description: UInt8 = 1
    static let embeddings: UInt8 = 2
    static let tokens: UInt8 = 3
    static let found: UInt8 = 4

    static let text: UInt8 = 0
    static let jsonObject: UInt8 = 1
    static let jsonSchema: UInt8 = 2

    static let auto: UInt8 = 0
    static let noTool: UInt8 = 1
    static let required: UInt8 = 2
    static let named: UInt8 = 3

    static let textPiece: UInt8 = 1
    static let reasoning: UInt8 = 2
    static let toolCall: UInt8 = 3
    static let logprobs: UInt8 = 4
    static let finished: UInt8 = 5
    static let moved: UInt8 = 6

    static let full: UInt8 = 1
    static let movedOn: UInt8 = 2
    static let expired: UInt8 = 3
}
