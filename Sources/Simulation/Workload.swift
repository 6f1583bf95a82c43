import Core
import Swarm

/// What clients do: they ask in a few conversations that all hosts share, begin new ones, and delete some.
struct Workload {
    private let interval: Duration
    private let deletes: Bool
    private let conversations: Int

    enum Wish {
        case ask(StreamID)
        case delete(StreamID)
    }

    init(_ chance: inout Chance, deletes: Bool) {
        interval = .milliseconds([300, 1_000, 3_000][chance.below(3)])
        conversations = 1 + chance.below(6)
        self.deletes = deletes
    }

    /// Until the host's next client comes.
    func pause(_ chance: inout Chance) -> Duration { chance.tailed(interval) }

    func wish(_ chance: inout Chance, at now: Duration) -> Wish {
        // New ones every ten seconds: a conversation of hundreds of turns costs more than it shows.
        let generation = UInt64(now / .seconds(10))
        let stream = StreamID(Bytes16(high: 0xC000 + generation, low: UInt64(chance.below(conversations))))
        return deletes && chance.hits(1, of: 12) ? .delete(stream) : .ask(stream)
    }

    /// How long the model takes.
    func generation(_ chance: inout Chance) -> Duration { chance.tailed(.milliseconds(300)) }

    static func id(of stream: StreamID) -> ConversationID { ConversationID("sim-", hexOf: stream.bytes.bytes) }

    static func question(_ chance: inout Chance) -> Turn {
        Turn(message: Message(.user, text(&chance)), requestKey: nil)
    }

    static func answer(_ chance: inout Chance) -> Turn {
        Turn(
            message: Message(.assistant, text(&chance)),
            outcome: Turn.Outcome(
                finishReason: .stop, usage: TokenUsage(promptTokens: 1, completionTokens: 1), model: "m"))
    }

    private static func text(_ chance: inout Chance) -> String { chance.bytes(8 + chance.below(40)).hex }
}
