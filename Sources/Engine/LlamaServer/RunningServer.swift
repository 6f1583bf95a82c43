import Core
import NIOHTTP1

/// A llama-server that runs, and what can be asked of it.
struct RunningServer: Sendable {
    let name: String
    let program: ServerProgram
    let upstream: HTTPUpstream

    private var subject: String { "the engine of \(name)" }

    private func body(_ extras: [(key: String, value: JSON)] = []) -> ChatBody {
        ChatBody(model: name, prompted: program.neutralised, namesByOffering: true, extras: extras)
    }

    // MARK: Answers

    /// Begins an answer.
    ///
    /// - Throws: ``RuntimeError``, and what ``HTTPUpstream/open(_:_:json:headers:bounds:)`` does.
    func ask(_ request: GenerationRequest, slot: Int?, bounds: EngineBounds) async throws -> OpenAnswer {
        var request = request
        var body = body([("cache_prompt", true), ("return_progress", true)])
        body.maximumTokens = request.maximumTokens
        if let slot { body.extras.append(("id_slot", .integer(Int64(slot)))) }
        if program.facts.isByteLevel { request.sampling.completed(by: .greedy) }
        // 32 bits of seed; the last value means "any".
        if let seed = request.sampling.seed {
            let folded = UInt32(truncatingIfNeeded: seed ^ (seed >> 32))
            request.sampling.seed = UInt64(folded == UInt32.max ? 0 : folded)
        }
        var written: Int?
        if let partial = request.partial {
            let beginning = program.neutralised(partial)
            let count = try await tokens(of: beginning, bounds: bounds)
            let prompt = try await prompt(of: request, bounds: bounds)
            request.rawPrompt = prompt + beginning
            body.maximumTokens = max(1, request.maximumTokens - count)
            written = count
        }
        // It does not tell which stop string it found, and its log-probabilities go with its own pieces of text.
        let stops = request.shape.logprobs == nil ? request.stop : []
        if !stops.isEmpty {
            request.stop = []
            body.extras.append(("timings_per_token", true))
        }
        let path = request.rawPrompt == nil ? "/v1/chat/completions" : "/v1/completions"
        let (head, connection) = try await upstream.open(.POST, path, json: body.json(request), bounds: bounds)
        guard head.status.code == 200 else {
            let text = try await upstream.rest(of: connection, limit: 1024 * 1024)
            throw translated(HTTPUpstream.Reply(head: head, body: text))
        }
        let stream = ChatStream(
            subject: subject, request: request, estimate: 0, outputLimit: bounds.outputBytes, written: written,
            stops: stops)
        return OpenAnswer(upstream: upstream, connection: connection, stream: stream)
    }

    /// The prompt as the server's own template writes it, up to where the answer begins.
    private func prompt(of request: GenerationRequest, bounds: EngineBounds) async throws -> String {
        if let raw = request.rawPrompt { return raw }
        let reply = try await upstream.send(
            .POST, "/apply-template", json: body().countJSON(request.messages, shape: request.shape), bounds: bounds)
        guard reply.isSuccess, let prompt = reply.json?["prompt"]?.string else { throw translated(reply) }
        return prompt
    }

    /// The tokens of an answer's beginning.
    private func tokens(of text: String, bounds: EngineBounds) async throws -> Int {
        let reply = try await upstream.send(
            .POST, "/tokenize", json: ["content": .string(text), "add_special": false, "parse_special": true],
            limit: Limits.engineEmbeddingBytes, bounds: bounds)
        guard reply.isSuccess, let count = reply.json?["tokens"]?.array?.count else { throw translated(reply) }
        return count
    }

    func embed(_ texts: [String], bounds: EngineBounds) async throws -> Embeddings {
        let reply = try await upstream.send(
            .POST, "/v1/embeddings", json: EmbeddingsBody.json(texts, model: name),
            limit: Limits.engineEmbeddingBytes, bounds: bounds)
        guard reply.isSuccess else { throw translated(reply) }
        return try EmbeddingsBody.read(reply.body, count: texts.count, subject: subject)
    }

    /// The server's own key is none of the operator's business: what it refuses is its own failure.
    private func translated(_ reply: HTTPUpstream.Reply) -> RuntimeError {
        let error = UpstreamError(subject).translated(reply)
        guard error.code == .configuration else { return error }
        return RuntimeError(.engineFailed, "\(subject) refused a request (\(reply.status)); is it a llama-server?")
    }

    // MARK: Counting

    /// The tokens of a prompt by the server's own template and tokenizer.
    func count(_ messages: [Message], shape: AnswerShape, bounds: EngineBounds) async throws -> Int? {
        let json = body().countJSON(messages, shape: shape)
        let direct = try await upstream.send(.POST, "/v1/chat/completions/input_tokens", json: json, bounds: bounds)
        if direct.isSuccess { return direct.json?["input_tokens"]?.integer.map { Int(clamping: $0) } }
        // Builds before that of August 2026 have the two steps only.
        let rendered = try await upstream.send(.POST, "/apply-template", json: json, bounds: bounds)
        guard rendered.isSuccess, let prompt = rendered.json?["prompt"] else { throw translated(rendered) }
        let counted = try await upstream.send(
            .POST, "/tokenize", json: ["content": prompt, "add_special": true, "parse_special": true],
            limit: Limits.engineEmbeddingBytes, bounds: bounds)
        return counted.isSuccess ? counted.json?["tokens"]?.array?.count : nil
    }

    // MARK: Health

    /// Whether it still does its work: its numbers come from where the model runs, `/health` does not.
    func works(within patience: Duration, bounds: EngineBounds) async -> Bool {
        var bounds = bounds
        bounds.answer = patience
        let path = program.arguments.flags.contains("--metrics") ? "/metrics" : "/health"
        return (try? await upstream.send(.GET, path, bounds: bounds).isSuccess) ?? false
    }

    /// What it can do, once it has loaded its model; throws until then.
    func examine(bounds: EngineBounds) async throws -> EngineDescription {
        var bounds = bounds
        bounds.answer = .seconds(10)
        let health = try await upstream.send(.GET, "/health", bounds: bounds)
        guard health.isSuccess else { throw translated(health) }
        let properties = try await upstream.send(.GET, "/props", bounds: bounds).json
        let context = (properties?["default_generation_settings"]?["n_ctx"]?.integer).map { Int(clamping: $0) }
        var capabilities: Set<EngineCapability> = [
            .jsonObject, .jsonSchema, .logprobs, .logitBias, .rawPrompt, .tokenCounts, .partial,
        ]
        // Where the template knows no tools, the server drops them without a word.
        let knowsTools =
            properties?["chat_template_caps"]?["supports_tools"]?.bool
            ?? (program.facts.templateText?.contains("tools") ?? false)
        if knowsTools { capabilities.insert(.tools) }
        if program.arguments.pooling != nil { capabilities.insert(.embeddings) }
        let workers =
            program.workerHosts.isEmpty ? "" : " with workers on \(program.workerHosts.joined(separator: ", "))"
        var description = EngineDescription(
            kind: "llama-server",
            fingerprint: "\(program.command.name) \(program.build) \(program.facts.fileName)\(workers)",
            contextLength: max(1, context ?? program.arguments.contextLength),
            tokenCost: try await cost(bounds: bounds),
            samplingFields: [
                "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
            ], capabilities: capabilities, slots: program.arguments.slots)
        description.workers = program.workerHosts
        return description
    }

    /// Exact for a vocabulary of bytes; else the server tells what its template adds to each message.
    private func cost(bounds: EngineBounds) async throws -> TokenCost {
        if program.facts.isByteLevel, let template = program.template { return program.facts.tokenCost(of: template) }
        let one = [Message(.user, "a")]
        let three = one + [Message(.assistant, "a"), Message(.user, "a")]
        guard let short = try? await count(one, shape: AnswerShape(), bounds: bounds),
            let long = try? await count(three, shape: AnswerShape(), bounds: bounds), long >= short
        else { return TokenCost(perByte: 0.4, perMessage: 8, fixed: 8, isExact: false) }
        let perMessage = min(1_000, max(1, (long - short + 1) / 2))
        return TokenCost(
            perByte: 0.4, perMessage: perMessage, fixed: min(100_000, max(0, short - perMessage)), isExact: false)
    }
}

extension Sampling {
    /// What is not set is as in `defaults`.
    fileprivate mutating func completed(by defaults: SamplingDefaults) {
        temperature = temperature ?? defaults.temperature
        topK = topK ?? defaults.topK
        topP = topP ?? defaults.topP
        minP = minP ?? defaults.minP
    }
}
