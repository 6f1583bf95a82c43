import Core
import Cryptography
import Swarm

/// How requests that are answered in the background are kept: each as a conversation of its own, and what happens to it
/// as notes (``RequestNote``) in a stream that all requests of a day share.
extension Conversations {
    struct KeptRequest: Sendable {
        var conversation: ConversationID
        var owner: Owner
        var created: HybridTimestamp
        var order: RequestOrder
        /// Instructions first.
        var messages: [Message]
        /// The first result in hybrid order, as all hosts see it.
        var answer: Turn?
    }

    /// Writes a request and its first note. The same key again gives what stands already, and no operations.
    func openRequest(
        _ order: RequestOrder, _ messages: [Message], key: String?, note: RequestNote, day: UInt64, of caller: Owner
    ) async throws -> (request: Dot, operations: [Operation]) {
        try requireKeeping()
        if let failure = await writer.failure { throw failure }
        let keyed = key.flatMap {
            Bytes16(HMACSHA256.authenticate(Array("request\u{0}\(caller.name)\u{0}\($0)".utf8), key: prefixKey))
        }
        let id = try ConversationID("request-", hexOf: keyed?.bytes ?? SecureRandom.bytes(16))
        let stream = Self.stream(of: id, owner: caller)
        if keyed != nil, let known = try await known(id, messages, caller) { return (known, []) }
        let meta = ConversationMeta(id: id, owner: caller)
        var drafts = [
            OperationLog.Draft(
                kind: .conversationMeta, stream: stream, dependencies: try await state(of: stream).deletes,
                body: TurnCodec.encode(meta))
        ]
        for (index, message) in messages.enumerated() {
            var turn = Turn(message: message)
            if message.role == .assistant {
                turn.outcome = Turn.Outcome(
                    finishReason: .stop,
                    usage: TokenUsage(promptTokens: 0, completionTokens: 0, isExact: false), model: "")
            }
            if index == messages.count - 1 { turn.annotation = order.annotation }
            drafts.append(
                OperationLog.Draft(
                    kind: message.role == .assistant ? .assistantTurn : .userTurn, stream: stream,
                    body: TurnCodec.encode(turn)))
        }
        drafts.append(
            OperationLog.Draft(kind: .request, stream: RequestNote.stream(ofDay: day), body: note.encoded))
        let written = try await write(LogWriter.Entry(drafts: drafts), to: stream).operations
        guard let question = written.last?.dependencies.first else {
            throw RuntimeError(.internal, "a request had nothing to write")
        }
        return (question, written)
    }

    private func known(_ id: ConversationID, _ messages: [Message], _ caller: Owner) async throws -> Dot? {
        guard try await header(of: Self.stream(of: id, owner: caller)) != nil else { return nil }
        let state = try await place(of: id, caller).state
        let exchange = state.transcript.exchanges.last {
            RequestOrder(annotation: state.turn($0.question)?.turn.annotation) != nil
        }
        guard let exchange else { return nil }
        guard exchange.message == messages.last else { throw Self.reusedKey }
        return exchange.question
    }

    /// - Parameter caller: nil: whoever's it is.
    func keptRequest(_ request: Dot, of caller: Owner?) async throws -> KeptRequest {
        let place = try await place(of: request, caller)
        guard let kept = Self.request(request, place) else { throw Self.unknownExchange }
        return kept
    }

    /// The latest first.
    func keptRequests(of caller: Owner, limit: Int) async throws -> [(request: Dot, kept: KeptRequest)] {
        var found: [(request: Dot, kept: KeptRequest)] = []
        for header in try await list(of: caller, limit: Limits.conversationsSearched) {
            try Task.checkCancellation()
            guard found.count < limit else { break }
            guard header.id.rawValue.hasPrefix("request-") else { continue }
            let place = Place(header: header, state: try await state(of: header.stream))
            for exchange in place.state.transcript.exchanges {
                if let kept = Self.request(exchange.question, place) { found.append((exchange.question, kept)) }
            }
        }
        return found.sorted { ($0.kept.created, $0.request) > ($1.kept.created, $1.request) }
    }

    private static func request(_ request: Dot, _ place: Place) -> KeptRequest? {
        guard let question = place.state.turn(request), let order = RequestOrder(annotation: question.turn.annotation)
        else { return nil }
        let path = place.state.path(to: [request]).compactMap { place.state.turn($0)?.turn.message }
        let answers = place.state.answers(to: request).compactMap { dot in
            place.state.turn(dot).map { (dot: dot, turn: $0.turn, timestamp: $0.timestamp) }
        }
        let first = answers.filter { $0.turn.annotation?["kind"]?.string == RequestOrder.kind }
            .min { ($0.timestamp, $0.dot) < ($1.timestamp, $1.dot) }
        return KeptRequest(
            conversation: place.header.id, owner: place.header.owner, created: question.timestamp, order: order,
            messages: path, answer: first?.turn)
    }

    /// Writes a result and its note.
    func endRequest(
        _ request: Dot, with message: Message, _ outcome: Turn.Outcome, annotation: JSON, note: RequestNote,
        in notes: StreamID
    ) async throws -> [Operation] {
        let place = try await place(of: request, nil)
        let turn = Turn(message: message, outcome: outcome, annotation: annotation)
        let drafts = [
            OperationLog.Draft(
                kind: .assistantTurn, stream: place.header.stream, dependencies: [request],
                body: TurnCodec.encode(turn)),
            OperationLog.Draft(kind: .request, stream: notes, body: note.encoded),
        ]
        return try await write(LogWriter.Entry(drafts: drafts), to: place.header.stream).operations
    }

    /// - Parameter opened: the note that began it.
    func noteRequest(_ note: RequestNote, after opened: Dot, in notes: StreamID) async throws -> [Operation] {
        let draft = OperationLog.Draft(kind: .request, stream: notes, dependencies: [opened], body: note.encoded)
        return try await write(LogWriter.Entry(drafts: [draft]), to: notes).operations
    }
}
