package import Core

/// ``ConversationServices``.
extension LocalNode {
    package func exchange(_ question: Dot, of caller: Owner) async throws -> KeptExchange {
        await progress(of: try await conversations.exchange(question, of: caller))
    }

    package func path(to question: Dot, of caller: Owner) async throws -> [ConversationTurn] {
        try await conversations.path(to: question, of: caller)
    }

    package func exchanges(
        of caller: Owner, where isWanted: @Sendable (JSON) -> Bool
    ) async throws -> [KeptExchange] {
        try await conversations.exchanges(of: caller, where: isWanted)
    }

    package func deleteExchange(_ question: Dot, turns: Int, of caller: Owner) async throws {
        _ = try await cancelAnswer(to: question, of: caller)
        try await conversations.deleteExchange(question, turns: turns, of: caller)
    }

    package func cancelAnswer(to question: Dot, of caller: Owner) async throws -> Bool {
        let exchange = try await exchange(question, of: caller)
        if await background.cancel(exchange.question.dot) { return true }
        if case .elsewhere = exchange.progress {
            try await conversations.note(.cancelled, on: exchange.question.dot, of: caller)
        }
        return false
    }

    package func answerInBackground(to question: Dot, of caller: Owner) async throws -> ChatAnswer? {
        await background.answer(try await conversations.exchange(question, of: caller).question.dot)
    }

    package func annotate(_ question: Dot, _ annotation: JSON, of caller: Owner) async throws {
        try await conversations.note(.annotation(annotation), on: question, of: caller)
    }

    package func describe(
        _ id: ConversationID, metadata: JSON, of caller: Owner
    ) async throws -> ConversationRecord {
        try await conversations.describe(id, metadata: metadata, of: caller)
    }

    package func record(of id: ConversationID, of caller: Owner) async throws -> ConversationRecord {
        try await conversations.record(of: id, of: caller)
    }

    package func exchanges(in id: ConversationID, of caller: Owner) async throws -> [KeptExchange] {
        try await conversations.exchanges(in: id, of: caller)
    }

    package func append(
        _ messages: [Message], to id: ConversationID, of caller: Owner
    ) async throws -> [ConversationTurn] {
        try await conversations.append(messages, to: id, of: caller)
    }

    package func deleteTurn(_ turn: Dot, of id: ConversationID, of caller: Owner) async throws {
        try await conversations.deleteTurn(turn, of: id, of: caller)
    }

    package func deleteConversation(_ id: ConversationID, of caller: Owner) async throws {
        _ = try await conversations.delete(id, of: caller)
    }

    /// How far the answer is. Whether the host that was asked still writes is not known here.
    private func progress(of exchange: KeptExchange) async -> KeptExchange {
        var exchange = exchange
        let question = exchange.question.dot
        if exchange.answer?.turn.outcome?.finishReason.isComplete == true { return exchange }
        if await answers.isRunning(question) {
            exchange.progress = .running
        } else if exchange.answer == nil {
            let asked = question.origin.node
            let writer = await live?.isLiving(asked) == true ? asked : await live?.place(of: question)?.node ?? asked
            exchange.progress = writer == id ? .lost : .elsewhere(writer)
        }
        return exchange
    }
}
