package import Core

/// What a host must know to take an answer up, should the host that was asked for it be gone.
package struct StandbyRequest: Hashable, Sendable {
    /// The turn that is answered.
    package var question: Dot
    package var conversation: ConversationID
    package var stream: StreamID
    package var owner: Owner
    /// Where the hash chain of the history stands behind the question (`PrefixChain`).
    package var chain: [UInt8]
    /// The model's name as the client wrote it.
    package var model: String
    package var generation: GenerationRequest
    package var facts: AnswerFacts
    /// Who stands by, in the order in which they take it up; at most ``Limits/standbys``.
    package var standbys: [NodeID]

    package init(
        question: Dot, conversation: ConversationID, stream: StreamID, owner: Owner, chain: [UInt8], model: String,
        generation: GenerationRequest, facts: AnswerFacts, standbys: [NodeID] = []
    ) {
        self.question = question
        self.conversation = conversation
        self.stream = stream
        self.owner = owner
        self.chain = chain
        self.model = model
        self.generation = generation
        self.facts = facts
        self.standbys = standbys
    }

    /// Where a question stands on the ring: its ``HashRing/owners(of:count:)`` stand by for its answer, so that any
    /// host knows whom to ask for it.
    package static func key(of question: Dot) -> UInt64 {
        var writer = ByteWriter()
        writer.put(question)
        var hash = StableHash()
        hash.combine(writer.bytes)
        return hash.value
    }
}

/// What a client is told of an answer beside its text.
package struct AnswerFacts: Hashable, Sendable {
    /// The model's name on the host that has it.
    package var model: String
    package var fingerprint: String
    package var servedBy: NodeID
    /// The prompt: tokens, the room for them, messages in it and messages that had no room.
    package var promptTokens: Int
    package var contextLength: Int
    package var included: Int
    package var omitted: Int

    package init(
        model: String, fingerprint: String, servedBy: NodeID, promptTokens: Int, contextLength: Int, included: Int,
        omitted: Int
    ) {
        self.model = model
        self.fingerprint = fingerprint
        self.servedBy = servedBy
        self.promptTokens = promptTokens
        self.contextLength = contextLength
        self.included = included
        self.omitted = omitted
    }
}
