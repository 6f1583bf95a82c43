import Core
import Node
import Synchronization

/// A node that keeps what the test gave it.
extension ScriptedNode {
    private static let unknown = RuntimeError(.notFound, "there is nothing of that id for this caller")

    func exchange(_ question: Dot, of caller: Owner) async throws -> KeptExchange {
        guard let kept = kept.withLock({ $0[question] }), caller == .local else { throw Self.unknown }
        return kept
    }

    func path(to question: Dot, of caller: Owner) async throws -> [ConversationTurn] {
        [try await exchange(question, of: caller).question]
    }

    func exchanges(
        of caller: Owner, where isWanted: @Sendable (JSON) -> Bool
    ) async throws -> [KeptExchange] {
        kept.withLock { Array($0.values) }.filter { $0.question.turn.annotation.map(isWanted) ?? false }
            .sorted { $0.question.dot > $1.question.dot }
    }

    func deleteExchange(_ question: Dot, turns: Int, of caller: Owner) async throws {
        _ = try await exchange(question, of: caller)
        kept.withLock { $0[question] = nil }
    }

    func cancelAnswer(to question: Dot, of caller: Owner) async throws -> Bool { false }
    func answerInBackground(to question: Dot, of caller: Owner) async throws -> ChatAnswer? { nil }
    func stream(of question: Dot, for caller: Owner) async throws -> ChatAnswer {
        throw RuntimeError(.unavailable, "nobody writes this answer any more")
    }

    func annotate(_ question: Dot, _ annotation: JSON, of caller: Owner) async throws {
        var exchange = try await exchange(question, of: caller)
        exchange.question.turn.annotation = annotation
        kept.withLock { $0[question] = exchange }
    }

    func describe(_ id: ConversationID, metadata: JSON, of caller: Owner) async throws -> ConversationRecord {
        ConversationRecord(id: id, created: HybridTimestamp(milliseconds: 1_700_000_000_000), metadata: metadata)
    }

    func record(of id: ConversationID, of caller: Owner) async throws -> ConversationRecord {
        guard id.rawValue == "talk" else { throw Self.unknown }
        return ConversationRecord(id: id, created: HybridTimestamp(milliseconds: 1_700_000_000_000), metadata: nil)
    }

    func exchanges(in id: ConversationID, of caller: Owner) async throws -> [KeptExchange] {
        kept.withLock { Array($0.values) }.filter { $0.conversation == id }
            .sorted { $0.question.dot < $1.question.dot }
    }

    func append(_ messages: [Message], to id: ConversationID, of caller: Owner) async throws -> [ConversationTurn] {
        throw Self.unknown
    }

    func deleteTurn(_ turn: Dot, of id: ConversationID, of caller: Owner) async throws { throw Self.unknown }
    func deleteConversation(_ id: ConversationID, of caller: Owner) async throws { throw Self.unknown }
}
