package import Core
package import Swarm

/// What a request means for the conversations: decided before the engine is asked, written once it answers.
package struct ConversationPlan: Sendable {
    /// Where a kept exchange goes.
    package struct Destination: Sendable {
        package var id: ConversationID
        package var stream: StreamID
        package var owner: Owner
        package var isNew: Bool
        /// What the first new turn follows.
        package var dependencies: [Dot]
        /// Of a conversation that was deleted and begins anew: its deletes.
        package var deletes: [Dot] = []
        /// Turns to write before the answer: client's turns, and of a history that was not known the answers in it.
        package var turns: [Turn]
        /// The hash chain's state after the last turn, to go on with the answer.
        package var chain: PrefixChain
        /// The question when it is written already and only its answer is missing.
        package var question: Dot?
    }

    /// Nil where nothing is kept.
    package var destination: Destination?
    package var instructions: [Message]
    /// What was said before, as the model may see it; the oldest may be left out.
    package var history: [Message]
    /// What is asked now; always seen whole.
    package var new: [Message]
    /// The answer that the same request got before.
    package var replay: Transcript.Answer?
}
