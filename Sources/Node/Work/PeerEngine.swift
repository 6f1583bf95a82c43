internal import Core
internal import Swarm

/// A model on another host, as an engine of this one.
struct PeerEngine: InferenceEngine {
    let node: NodeID
    /// Its name there.
    let model: String
    let links: WorkLinks

    func start() async {}
    func stop() async {}
    /// What it is by the host's own word is in ``HostedModel``.
    func state() async -> EngineState { .ready }
    func load() async -> (waiting: Int, running: Int) { (0, 0) }

    func describe() async throws -> EngineDescription { try await links.link(with: node).describe(model) }

    func generate(_ request: GenerationRequest) -> GenerationStream {
        let answer = PeerAnswer(self, request)
        return GenerationStream { try await answer.next() }
    }

    func embed(_ texts: [String]) async throws -> Embeddings {
        let link = try await links.link(with: node)
        var whole = Embeddings(vectors: [], promptTokens: 0)
        // Many vectors are more than one message may hold.
        var rest = texts[...]
        while !rest.isEmpty {
            let group = Array(rest.prefix(Limits.workEmbeddings))
            rest = rest.dropFirst(group.count)
            guard case .embeddings(let part) = try await link.ask(.embed(group), of: model),
                part.vectors.count == group.count
            else { throw WorkLink.nonsense }
            whole.vectors += part.vectors
            let (sum, overflows) = whole.promptTokens.addingReportingOverflow(part.promptTokens)
            whole.promptTokens = overflows ? Int.max : sum
        }
        return whole
    }

    func countTokens(of messages: [Message], shape: AnswerShape) async throws -> Int? {
        let link = try await links.link(with: node)
        guard case .count(let tokens) = try await link.ask(.count(messages, shape), of: model) else {
            throw WorkLink.nonsense
        }
        return tokens
    }
}

/// One answer of another host; it is asked when its reader wants the first event.
private actor PeerAnswer {
    private let engine: PeerEngine
    private let request: GenerationRequest
    private var stream: GenerationStream.AsyncIterator?

    init(_ engine: PeerEngine, _ request: GenerationRequest) {
        self.engine = engine
        self.request = request
    }

    func next() async throws -> GenerationEvent? {
        var iterator: GenerationStream.AsyncIterator
        if let stream {
            iterator = stream
        } else {
            let link = try await engine.links.link(with: engine.node)
            iterator = try await link.stream(.generate(request), of: engine.model).makeAsyncIterator()
        }
        let event = try await iterator.next(isolation: self)
        stream = iterator
        return event
    }
}
