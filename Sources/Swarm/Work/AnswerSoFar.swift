package import Core

/// What of one answer was given out, and how another engine takes it up. A pure machine.
///
/// Where the answer is plain text, and the engine can go on behind text (``EngineCapability/partial``), it does:
/// nothing is written twice. Else the answer is written once more from its beginning, and what was given out already is
/// compared and left out. Engines that choose greedily, or by a seed, write the same again; where one does not, the
/// answer ends with an error rather than with a seam.
package struct AnswerSoFar: Sendable {
    /// All that was given out.
    package private(set) var message = Message(.assistant, "")
    private var hasLogprobs = false
    package private(set) var isFinished = false
    /// What of `message` the present engine has written again; nil where it need not.
    private var again: Again?

    private struct Again: Sendable {
        var text = 0
        var reasoning = 0
        /// Bytes of the arguments of each call.
        var calls: [Int] = []
    }

    package init() {}

    package var isEmpty: Bool { message.isEmpty && message.reasoning == nil }

    /// How an engine with those capabilities goes on.
    package func way(for capabilities: Set<EngineCapability>, _ request: GenerationRequest) -> Failover.Way {
        if isEmpty { return .begun }
        let isPlain =
            message.toolCalls.isEmpty && message.reasoning == nil && !hasLogprobs && request.shape.format == .text
            && !request.shape.offersTools
        return isPlain && capabilities.contains(.partial) ? .continued : .repeated
    }

    /// The request that the next engine is given.
    package mutating func takeUp(_ request: GenerationRequest, _ way: Failover.Way) -> GenerationRequest {
        var request = request
        request.partial = way == .continued ? message.text : nil
        again = way == .repeated ? Again() : nil
        return request
    }

    /// All of it comes once more, from whoever wrote it or has taken it up.
    package mutating func beginAgain() { again = Again() }

    /// What of an engine's event is to be given out.
    ///
    /// - Throws: ``RuntimeError`` where the engine writes something else than what was given out.
    package mutating func take(_ event: GenerationEvent) throws(RuntimeError) -> GenerationEvent? {
        let fresh = try new(in: event)
        switch fresh {
        case .text(let text): message.text += text
        case .reasoning(let text): message.reasoning = (message.reasoning ?? "") + text
        case .toolCall(let piece): try message.add(piece)
        case .logprobs: hasLogprobs = true
        case .finished: isFinished = true
        case .moved, nil: break
        }
        return fresh
    }

    private mutating func new(in event: GenerationEvent) throws(RuntimeError) -> GenerationEvent? {
        guard var again else { return event }
        defer { self.again = again }
        switch event {
        case .reasoning(let text):
            return try Self.rest(of: text, behind: message.reasoning ?? "", &again.reasoning).map { .reasoning($0) }
        case .text(let text):
            guard hasReasonedAgain(again) else { throw Self.different }
            return try Self.rest(of: text, behind: message.text, &again.text).map { .text($0) }
        case .logprobs:
            // They stand before their text: what is left out of that is left out here.
            return again.text < message.text.utf8.count ? nil : event
        case .toolCall(let piece):
            guard hasReasonedAgain(again), again.text == message.text.utf8.count else { throw Self.different }
            return try rest(of: piece, &again)
        case .finished:
            guard hasReasonedAgain(again), again.text == message.text.utf8.count,
                again.calls.count == message.toolCalls.count,
                zip(again.calls, message.toolCalls).allSatisfy({ $0 == $1.arguments.utf8.count })
            else { throw Self.different }
            return event
        case .moved: return event
        }
    }

    private func hasReasonedAgain(_ again: Again) -> Bool { again.reasoning == message.reasoning?.utf8.count ?? 0 }

    private func rest(of piece: ToolCallPiece, _ again: inout Again) throws(RuntimeError) -> GenerationEvent? {
        guard message.toolCalls.indices.contains(piece.index) else {
            // A new call: those before it must stand whole.
            guard zip(again.calls, message.toolCalls).allSatisfy({ $0 == $1.arguments.utf8.count }),
                again.calls.count >= message.toolCalls.count
            else { throw Self.different }
            again.calls.append(piece.arguments.utf8.count)
            return .toolCall(piece)
        }
        let given = message.toolCalls[piece.index]
        if piece.index == again.calls.count {
            // The client knows the call by the id that it was given first.
            guard piece.name == given.name else { throw Self.different }
            again.calls.append(0)
        }
        guard again.calls.indices.contains(piece.index) else { throw Self.different }
        let rest = try Self.rest(of: piece.arguments, behind: given.arguments, &again.calls[piece.index])
        return rest.map { .toolCall(ToolCallPiece(index: piece.index, arguments: $0)) }
    }

    /// What of `text` goes beyond `given`, of which `place` bytes have come again.
    private static func rest(of text: String, behind given: String, _ place: inout Int) throws(RuntimeError) -> String?
    {
        // What was given out since the repetition caught up stands in `given` too: it is compared no more.
        let missing = given.utf8.count - place
        guard missing > 0 else {
            place += text.utf8.count
            return text.isEmpty ? nil : text
        }
        let known = min(missing, text.utf8.count)
        guard given.utf8.dropFirst(place).prefix(known).elementsEqual(text.utf8.prefix(known)) else { throw different }
        place += text.utf8.count
        let rest = String(decoding: text.utf8.dropFirst(known), as: UTF8.self)
        return rest.isEmpty ? nil : rest
    }

    static var different: RuntimeError {
        RuntimeError(
            .engineFailed,
            "the host that wrote the answer failed, and the next one wrote another answer; what was written so far is "
                + "kept, ask again for a whole one")
    }
}
