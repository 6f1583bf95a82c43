import Core
import HTTPTypes
import Swarm

@testable import Engine
@testable import Gateway

/// Bodies of requests for answers, as each dialect reads them, on to what an engine is told. The first byte chooses the
/// dialect.
enum ChatTarget {
    static func run(_ bytes: [UInt8]) throws(Broken) {
        let (number, body) = bytes.choice(of: 6)
        guard let json = try? JSON.parse(body) else { return }
        let none = HTTPFields()
        let chat: ChatRequest?
        switch number {
        case 0: chat = (try? ChatCompletionRequest(json, headers: none))?.chat
        case 1: chat = (try? MessagesRequest(json, headers: none))?.chat
        case 2: chat = (try? OllamaRequest(.chat, json, headers: none))?.chat
        case 3: chat = (try? OllamaRequest(.generate, json, headers: none))?.chat
        case 4: chat = (try? ResponseRequest(json, headers: none))?.chat
        default: chat = try? Completions.request(RequestFields(json: json), none)
        }
        if let chat { try check(chat) }
    }

    private static func check(_ chat: ChatRequest) throws(Broken) {
        try hold((1...512).contains(chat.model.utf8.count), "a model's name of \(chat.model.utf8.count) bytes")
        try hold((1...Limits.choices).contains(chat.choices), "\(chat.choices) choices")
        try hold(chat.maximumTokens.map { $0 > 0 } ?? true, "at most \(chat.maximumTokens ?? 0) tokens")
        try hold(
            chat.stop.count <= Limits.stopStrings
                && chat.stop.allSatisfy { (1...Limits.stopStringBytes).contains($0.utf8.count) }, "stop strings")
        let sampling = chat.sampling
        try hold(sampling.temperature.map { (0...2).contains($0) } ?? true, "temperature")
        try hold(sampling.topP.map { (0...1).contains($0) } ?? true, "top_p")
        try hold(sampling.minP.map { (0...1).contains($0) } ?? true, "min_p")
        try hold(sampling.topK.map { (0...Int(Int32.max)).contains($0) } ?? true, "top_k")
        for penalty in [sampling.presencePenalty, sampling.frequencyPenalty] {
            try hold(penalty.map { (-2...2).contains($0) } ?? true, "a penalty")
        }
        try hold(sampling.logitBias.allSatisfy { $0.key >= 0 && abs($0.value) <= 100 }, "logit_bias")

        let request = GenerationRequest(
            messages: chat.messages, maximumTokens: chat.maximumTokens ?? 16, stop: chat.stop, sampling: sampling,
            shape: chat.shape, rawPrompt: chat.rawPrompt)
        // One line, whatever stands in it: an engine of the line protocol must never see two requests.
        let line = EngineCommand.encode(generate: request, as: RequestID(number: 1))
        try hold(line.count { $0 == UInt8(ascii: "\n") } == 1, "a request of more than one line")
        try hold((try? JSON.parse(line)) != nil, "an engine is sent what is no JSON")
        let upstream = ChatBody(model: chat.model, maximumTokens: chat.maximumTokens).json(request)
        try hold((try? JSON.parse(upstream.encoded)) == upstream, "an upstream is sent something else")
        // Another host gets the same request.
        let work = WorkMessage.ask(1, model: chat.model, .generate(request))
        guard let read = try? WorkMessage.decode(work.encoded) else { throw Broken("another host cannot read it") }
        try hold(read == work, "another host gets something else")
    }
}
