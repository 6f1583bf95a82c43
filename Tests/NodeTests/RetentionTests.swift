import Core
import Swarm
import Testing

@testable import Node

@Suite(.timeLimit(.minutes(1))) struct RetentionTests {
    private static let now: UInt64 = 1_700_000_000_000

    /// Conversations of 100 bytes that were last used so many seconds ago.
    private static func used(_ ages: [UInt64]) -> [ConversationSize] {
        ages.enumerated().map { index, age in
            let time = HybridTimestamp(milliseconds: now - age * 1_000)
            let header = ConversationHeader(
                stream: StreamID(Bytes16(high: 1, low: UInt64(index))), id: ConversationID("c", hexOf: [UInt8(index)]),
                owner: .local, created: time, updated: time, turns: 2)
            return ConversationSize(header: header, bytes: 100)
        }
    }

    private static func due(
        _ retention: Retention, _ ages: [UInt64], bytes: Int? = nil, rank: Int = 0
    ) -> [UInt64] {
        retention.due(used(ages), bytes: bytes, rank: rank, now: now).map(\.stream.bytes.low)
    }

    @Test("Where nothing is said nothing goes")
    func off() {
        #expect(Retention().isOff)
        #expect(Self.due(Retention(), [1_000_000_000, 5], bytes: 1 << 40) == [])
    }

    @Test("What was not used for so long goes, and nothing else")
    func age() {
        let day = Retention(age: .seconds(86_400))
        #expect(Self.due(day, [90_000, 86_401, 86_400, 60, 0]) == [0, 1])
        // A clock that is ahead.
        #expect(Self.due(day, [0]) == [])
    }

    @Test("Of several hosts the others wait longer than the first")
    func ranks() {
        let day = Retention(age: .seconds(86_400))
        #expect(Self.due(day, [86_450], rank: 0) == [0])
        #expect(Self.due(day, [86_450], rank: 1) == [])
        #expect(Self.due(day, [86_470], rank: 1) == [0])
    }

    @Test("Where all take too much the oldest go, as many as are needed, and none that was just used")
    func size() {
        let small = Retention(maxBytes: 1_000)
        #expect(Self.due(small, [500, 400, 300, 200], bytes: 1_000) == [])
        #expect(Self.due(small, [500, 400, 300, 200], bytes: 1_001) == [0])
        #expect(Self.due(small, [500, 400, 300, 200], bytes: 1_250) == [0, 1, 2])
        #expect(Self.due(small, [500, 14, 3], bytes: 5_000) == [0])
        // Not measured, being below for certain.
        #expect(Self.due(small, [500], bytes: nil) == [])
        // The others leave it to the first for a while.
        #expect(Self.due(small, [500, 400], bytes: 1_100, rank: 1) == [])
        #expect(Self.due(small, [500, 400], bytes: 1_200, rank: 1) == [0])
    }

    @Test("What goes by its age counts for the size as well")
    func both() {
        let both = Retention(age: .seconds(100), maxBytes: 1_000)
        #expect(Self.due(both, [500, 90, 80], bytes: 1_100) == [0])
        #expect(Self.due(both, [500, 90, 80], bytes: 1_150) == [0, 1])
    }

    @Test(
        "A conversation's time is looked at often enough, and not too often",
        arguments: [(1, 1), (40, 10), (86_400, 60)])
    func interval(age: Int, interval: Int) {
        #expect(Retention(age: .seconds(age)).interval == .seconds(interval))
        #expect(Retention(maxBytes: 1).interval == .seconds(5))
    }

    @Test("What is over goes everywhere; what is being answered stays", arguments: [true, false])
    func expires(isAnswering: Bool) async throws {
        let pair = await Pair.make()
        await pair.link()
        try await pair.b.ask(World.request("one", to: "c"))
        await pair.agree()
        let a = pair.a
        let conversations = Conversations(
            store: a.store, writer: a.writer, prefixKey: World.prefixKey, policy: .always,
            retention: Retention(age: .seconds(10)))
        let plan = try await conversations.plan(World.request("two", to: "c"), caller: .local)
        let destination = try #require(plan.destination)
        let question = try await conversations.recordQuestion(destination).question
        func answer() async throws {
            let outcome = Turn.Outcome(
                finishReason: .stop, usage: TokenUsage(promptTokens: 0, completionTokens: 0, isExact: false), model: "m"
            )
            _ = try await conversations.recordAnswer(
                Message(.assistant, "yes"), outcome: outcome, to: question, of: destination)
        }
        if !isAnswering { try await answer() }
        try await pair.ticking {
            await pair.agree()
            await conversations.expire(rank: 0, wallClock: World.wall() + 9_000, log: World.silent)
            #expect(await conversations.expired == 0)
            repeat {
                await conversations.expire(rank: 0, wallClock: World.wall() + 11_000, log: World.silent)
                // Whether the peer has all of it is known a moment after it has.
                try await Task.sleep(for: .milliseconds(2))
            } while await conversations.expired == 0 && !isAnswering
            await pair.agree()
            #expect(await conversations.expired == (isAnswering ? 0 : 1))
            let left = try await pair.b.node.conversations(of: .local, limit: 9)
            #expect(left.count == (isAnswering ? 1 : 0))
        }
        if isAnswering { try await answer() }
    }
}
