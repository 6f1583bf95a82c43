import Core
import Swarm
import Testing

@testable import Node

@Suite("An answer that others read along", .timeLimit(.minutes(1))) struct LiveAnswerTests {
    private let answer = LiveAnswer(
        AnswerFacts(
            model: "m", fingerprint: "f", servedBy: World.node, promptTokens: 1, contextLength: 2, included: 1,
            omitted: 0))
    private let end = GenerationEvent.finished(
        reason: .stop, usage: TokenUsage(promptTokens: 1, completionTokens: 2))

    private func all(_ follower: LiveAnswer.Follower) async throws -> [GenerationEvent] {
        var events: [GenerationEvent] = []
        for try await event in follower { events.append(joining: event) }
        return events
    }

    @Test("Whoever comes, whenever, gets all of it")
    func followers() async throws {
        let early = answer.follow()
        answer.add(.reasoning("hm"))
        answer.add(.text("a"))
        let late = answer.follow()
        answer.add(.text("b"))
        answer.add(.toolCall(ToolCallPiece(index: 0, id: "c", name: "f", arguments: "{")))
        answer.add(.toolCall(ToolCallPiece(index: 0, arguments: "}")))
        answer.add(end)
        answer.finish()
        let whole: [GenerationEvent] = [
            .reasoning("hm"), .text("ab"),
            .toolCall(ToolCallPiece(index: 0, id: "c", name: "f", arguments: "{}")), end,
        ]
        for follower in [early, late, answer.follow()] { #expect(try await all(follower) == whole) }
    }

    @Test("Its failure is every reader's")
    func fails() async throws {
        let early = answer.follow()
        answer.add(.text("a"))
        answer.finish(RuntimeError(.engineFailed, "broken"))
        answer.add(.text("b"))
        for follower in [early, answer.follow()] {
            await #expect(throws: RuntimeError.self) { try await all(follower) }
        }
    }

    @Test("It is followed while somebody reads")
    func isFollowed() async throws {
        #expect(!answer.isFollowed)
        var follower: LiveAnswer.Follower? = answer.follow()
        #expect(answer.isFollowed)
        answer.add(.text("a"))
        for try await _ in try #require(follower) { break }
        follower = nil
        #expect(!answer.isFollowed)
    }

    @Test("What those who stand by were not told yet is taken once")
    func untold() async {
        answer.add(.text("a"))
        answer.add(.text("b"))
        #expect(answer.takeUntold() == [.text("ab")])
        #expect(answer.takeUntold().isEmpty)
        async let waited: Void = answer.untold(2)
        answer.add(.text("c"))
        answer.add(.text("d"))
        await waited
        #expect(answer.takeUntold() == [.text("cd")])
        answer.finish()
        await answer.untold(100)
    }
}
