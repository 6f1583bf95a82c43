import Core
import Swarm
import Testing

@Suite("Messages of work") struct WorkMessageTests {
    private static let shape = AnswerShape(
        format: .jsonSchema(name: "s", schema: ["type": "object"]),
        tools: [
            Tool(name: "f", description: "does", parameters: ["type": "object"], isStrict: true), Tool(name: "g"),
        ], toolChoice: .named("f"), parallelToolCalls: false, logprobs: 3)

    private static let request: GenerationRequest = {
        var sampling = Sampling(
            temperature: 0.7, topP: 0.9, topK: 40, minP: 0.05, seed: .max, presencePenalty: -2, frequencyPenalty: 1.5)
        sampling.logitBias = [260: -100, 5: 1.25]
        var request = GenerationRequest(
            messages: [
                Message(.system, "be brief"),
                Message(
                    .assistant, "", reasoning: "hm", toolCalls: [ToolCall(id: "c1", name: "f", arguments: "{}")]),
                Message(.tool, "żółw ☕", toolCallID: "c1"),
            ], maximumTokens: 77, stop: ["\n\n"], sampling: sampling, shape: shape,
            affinity: Bytes16(high: 7, low: 9))
        request.partial = "I will "
        request.ticket = Ticket(caller: 7, priority: .low, patience: .milliseconds(1_500), moves: 2)
        return request
    }()

    /// What travels with what is asked, and not with what a host stands by for.
    private static let asked: GenerationRequest = {
        var asked = request
        asked.keepAlive = .loaded(.seconds(90))
        asked.isReadWhole = true
        return asked
    }()

    private static func at(once request: GenerationRequest) -> GenerationRequest {
        var request = request
        request.keepAlive = .unloaded
        return request
    }

    private static let probability = TokenProbability(
        chosen: .init(token: "a", bytes: [0x61], logprob: -0.5),
        alternatives: [.init(token: "b", bytes: [0xFF], logprob: -9_999)])

    private static let question = Dot(
        origin: Origin(node: NodeID(Bytes16(high: 3, low: .max)), epoch: 2), sequence: 70_000)

    private static let facts = AnswerFacts(
        model: "m", fingerprint: "x@1", servedBy: NodeID(Bytes16(high: 1, low: 2)), promptTokens: 300,
        contextLength: 2_048, included: 3, omitted: 1)

    private static let messages: [WorkMessage] = [
        .ask(
            8, model: "phi3",
            .standBy(
                StandbyRequest(
                    question: question, conversation: ConversationID("conv_", hexOf: [1, 2]),
                    stream: StreamID(Bytes16(high: 4, low: 5)), owner: .local, chain: [UInt8](0..<32), model: "phi3",
                    generation: request, facts: facts, standbys: [NodeID(Bytes16(high: 8, low: 8))]))),
        .ask(9, model: "", .find(question)), .ask(10, model: "", .follow(question)),
        .result(9, .found(nil)), .result(9, .found(facts)), .more(8, .text("wörd")),
        .ask(1, model: "m", .describe), .ask(2, model: "phi3", .generate(asked)),
        .ask(2, model: "m", .generate(at(once: asked))),
        .ask(
            3, model: "m",
            .generate(GenerationRequest(messages: [], maximumTokens: .max, rawPrompt: "on and on"))),
        .ask(4, model: "m", .embed(["one", ""])), .ask(.max, model: "m", .count(request.messages, shape)),
        .event(2, .text("wörd")), .event(2, .reasoning("so")),
        .event(2, .toolCall(ToolCallPiece(index: 1, id: "c", name: "f", arguments: "{\"a\""))),
        .event(2, .toolCall(ToolCallPiece(index: 1, arguments: ":1}"))), .event(2, .logprobs([probability])),
        .event(
            2,
            .finished(
                reason: .toolCalls,
                usage: TokenUsage(promptTokens: 9, completionTokens: 4, cachedTokens: 2, isExact: false))),
        .result(
            1,
            .description(
                EngineDescription(
                    kind: "builtin", fingerprint: "x@1", contextLength: 2_048,
                    tokenCost: TokenCost(perByte: 0.4, perMessage: 4, fixed: 2, isExact: true),
                    samplingFields: ["seed", "temperature"], capabilities: [.partial, .tools]))),
        .result(4, .embeddings(Embeddings(vectors: [[0.5, -1], [.leastNonzeroMagnitude, 3]], promptTokens: 8))),
        .result(5, .count(nil)), .result(5, .count(0)), .result(5, .count(12)),
        .failed(
            6,
            WorkFailure(RuntimeError(.overloaded, "too much", parameter: "messages", retryAfter: .seconds(3)))),
        .failed(7, WorkFailure(RuntimeError(.overloaded, "full", cause: QueueExit.full(position: 513)))),
        .failed(7, WorkFailure(RuntimeError(.timedOut, "late", cause: QueueExit.expired(position: 1)))),
        .failed(
            7,
            WorkFailure(
                RuntimeError(
                    .overloaded, "go on",
                    cause: QueueExit.moved(to: NodeID(Bytes16(high: 1, low: 2)))))),
        .cancel(7), .credit(7, bytes: 65_536), .ping, .pong,
    ]

    @Test("What is written is read again", arguments: messages)
    func roundTrip(message: WorkMessage) throws {
        #expect(try WorkMessage.decode(message.encoded) == message)
    }

    @Test("A kind that this version does not know is passed over, and nothing at all is an error")
    func unknown() throws {
        #expect(try WorkMessage.decode([99, 1, 2]) == nil)
        #expect(throws: RuntimeError.self) { try WorkMessage.decode([]) }
    }

    @Test("What is cut short is refused", arguments: messages)
    func cut(message: WorkMessage) {
        let bytes = message.encoded
        for length in 0..<bytes.count {
            // Where what older hosts do not write is missing, it is a whole message of such a host.
            if let whole = try? WorkMessage.decode(Array(bytes.prefix(length))), message.ofOlderHosts.contains(whole) {
                continue
            }
            #expect(throws: RuntimeError.self) { try WorkMessage.decode(Array(bytes.prefix(length))) }
        }
    }

    @Test("Values out of their range are refused")
    func ranges() {
        var wrong = Self.request
        wrong.sampling.temperature = 2.5
        var endless = Self.request
        endless.stop = [""]
        var silent = Self.request
        silent.maximumTokens = 0
        for request in [wrong, endless, silent] {
            #expect(throws: RuntimeError.self) {
                try WorkMessage.decode(WorkMessage.ask(1, model: "m", .generate(request)).encoded)
            }
        }
        // An answer's end that is none, and a move that only the asker may tell of.
        let aborted = GenerationEvent.finished(
            reason: .aborted, usage: TokenUsage(promptTokens: 1, completionTokens: 1))
        let node = NodeID(Bytes16(high: 1, low: 1))
        let moved = GenerationEvent.moved(Failover(from: node, to: node, cause: .lost, way: .begun))
        for event in [aborted, moved] {
            #expect(throws: RuntimeError.self) { try WorkMessage.decode(WorkMessage.event(1, event).encoded) }
        }
    }

    @Test("Garbage never traps", arguments: 1...20 as ClosedRange<UInt64>)
    func garbage(seed: UInt64) {
        var random = Seeded(seed)
        for _ in 0..<2_000 {
            var bytes = random.pick(Self.messages)?.encoded ?? []
            switch random.below(3) {
            case 0: bytes = (0..<random.below(60)).map { _ in UInt8(random.below(256)) }
            case 1:
                for _ in 0...random.below(4) where !bytes.isEmpty {
                    bytes[random.below(bytes.count)] = UInt8(random.below(256))
                }
            default:
                bytes.insert(contentsOf: (0..<random.below(9)).map { _ in 0xFF }, at: random.below(bytes.count + 1))
            }
            // Whatever is read can be written and read again.
            if let message = try? WorkMessage.decode(bytes) {
                #expect((try? WorkMessage.decode(message.encoded)) == message, "seed \(seed)")
            }
        }
    }
}

extension WorkMessage {
    /// Without what was added behind the last field, by one version after the other.
    fileprivate var ofOlderHosts: [WorkMessage] {
        switch self {
        case .ask(let id, let model, .generate(var request)):
            var requests: [GenerationRequest] = []
            request.isReadWhole = false
            requests.append(request)
            request.keepAlive = nil
            requests.append(request)
            request.ticket = Ticket()
            requests.append(request)
            return requests.map { .ask(id, model: model, .generate($0)) }
        case .failed(let id, var failure):
            failure.exit = nil
            return [.failed(id, failure)]
        default: return [self]
        }
    }
}
