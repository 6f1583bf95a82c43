package import Core

/// A question that is kept, and the answer to it that counts: what a client gets back by the question's dot.
package struct KeptExchange: Sendable {
    package enum Progress: Hashable, Sendable {
        /// The answer is there, as far as it came.
        case over
        /// This host writes the answer.
        case running
        /// Another host took the question; its answer, if it writes one, is not here yet.
        case elsewhere(NodeID)
        /// This host took the question and was stopped before any of the answer was kept.
        case lost
    }

    package var conversation: ConversationID
    package var question: ConversationTurn
    package var answer: ConversationTurn?
    package var progress: Progress

    package init(
        conversation: ConversationID, question: ConversationTurn, answer: ConversationTurn?, progress: Progress
    ) {
        self.conversation = conversation
        self.question = question
        self.answer = answer
        self.progress = progress
    }
}

/// A conversation as its client describes it.
package struct ConversationRecord: Sendable {
    package var id: ConversationID
    package var created: HybridTimestamp
    /// What the client has noted about it: an object of strings.
    package var metadata: JSON?

    package init(id: ConversationID, created: HybridTimestamp, metadata: JSON?) {
        self.id = id
        self.created = created
        self.metadata = metadata
    }
}

/// What is kept, one exchange at a time. Whatever belongs to someone else is `.notFound`.
package protocol ConversationServices: Sendable {
    /// The exchange that `question` began, on whichever host.
    func exchange(_ question: Dot, of caller: Owner) async throws -> KeptExchange
    /// The turns that led to `question`, it included: of a branch only its own.
    func path(to question: Dot, of caller: Owner) async throws -> [ConversationTurn]
    /// The caller's latest exchanges whose annotation satisfies `isWanted`, the latest first. Looks through so many
    /// conversations as ``Limits/conversationsSearched`` says.
    func exchanges(
        of caller: Owner, where isWanted: @Sendable (JSON) -> Bool
    ) async throws -> [KeptExchange]
    /// Takes away what was said in an exchange: the question with the `turns - 1` before it, and all answers to it.
    func deleteExchange(_ question: Dot, turns: Int, of caller: Owner) async throws
    /// Stops an answer that is written without its client (``ChatRequest/runsInBackground``). Returns once what came of
    /// it is kept. False where none is written here: the host that writes it then stops within
    /// ``Limits/backgroundWatch`` of hearing of it.
    func cancelAnswer(to question: Dot, of caller: Owner) async throws -> Bool
    /// An answer that this host writes without its client, or has written lately: its events from the first. Nil where
    /// there is none.
    func answerInBackground(to question: Dot, of caller: Owner) async throws -> ChatAnswer?
    /// The answer to a question from its first event: as it is written, by whichever host, or as it was kept.
    ///
    /// - Throws: ``RuntimeError`` `.unavailable` where nobody writes it any more and nothing was kept.
    func stream(of question: Dot, for caller: Owner) async throws -> ChatAnswer
    /// Puts another annotation in the place of the one that a question was kept with.
    func annotate(_ question: Dot, _ annotation: JSON, of caller: Owner) async throws

    /// Describes a conversation, which begins with that if there is none.
    func describe(_ id: ConversationID, metadata: JSON, of caller: Owner) async throws -> ConversationRecord
    func record(of id: ConversationID, of caller: Owner) async throws -> ConversationRecord
    /// All of a conversation, in its order.
    func exchanges(in id: ConversationID, of caller: Owner) async throws -> [KeptExchange]
    /// Adds what was said elsewhere. Returns the new turns.
    func append(_ messages: [Message], to id: ConversationID, of caller: Owner) async throws -> [ConversationTurn]
    /// Takes one turn's content away; of a question only itself, of an answer the others to the same question too.
    func deleteTurn(_ turn: Dot, of id: ConversationID, of caller: Owner) async throws
    func deleteConversation(_ id: ConversationID, of caller: Owner) async throws
}
