import Core
import Swarm
import Testing

@testable import Node

@Suite struct ConversationCacheTests {
    private static func stream(_ number: UInt64) -> StreamID { StreamID(Bytes16(high: 0, low: number)) }

    private static func turn(_ sequence: UInt64, size: Int = 1, after: [UInt64] = []) -> Operation {
        let origin = Origin(node: World.node, epoch: 1)
        return Operation(
            dot: Dot(origin: origin, sequence: sequence), kind: .userTurn,
            timestamp: HybridTimestamp(rawValue: sequence), stream: stream(1),
            dependencies: after.map { Dot(origin: origin, sequence: $0) },
            body: TurnCodec.encode(Turn(message: Message(.user, String(repeating: "x", count: size)))))
    }

    /// Whether it is here; looking is a use.
    private static func holds(_ cache: inout ConversationCache, _ number: UInt64) -> Bool {
        cache.state(of: stream(number)) != nil
    }

    @Test("What is added shows when the conversation is looked at; to one that is not here nothing is added")
    func adding() throws {
        var cache = ConversationCache()
        cache.add([Self.turn(1)], to: Self.stream(1))
        let early = Self.holds(&cache, 1)
        #expect(!early)
        cache.keep(ConversationState([Self.turn(1)]), for: Self.stream(1))
        cache.add([Self.turn(3, after: [2])], to: Self.stream(1))
        cache.add([Self.turn(2, after: [1])], to: Self.stream(1))
        let state = cache.state(of: Self.stream(1))
        #expect(state?.dots.map(\.sequence) == [1, 2, 3])
        cache.forget(Self.stream(1))
        let late = Self.holds(&cache, 1)
        #expect(!late)
    }

    @Test("Conversations are bounded in number; the longest unused go")
    func count() throws {
        var cache = ConversationCache()
        for number in 0..<3_000 as Range<UInt64> {
            cache.keep(ConversationState(), for: Self.stream(number))
            _ = Self.holds(&cache, 0)
        }
        var held: [UInt64] = []
        for number in 0..<3_000 as Range<UInt64> where Self.holds(&cache, number) { held.append(number) }
        #expect(held.count <= 1_024)
        #expect(held.first == 0)
        #expect(held.suffix(700) == Array(2_300..<3_000))
    }

    @Test("Conversations are bounded in bytes, those that only grow too")
    func bytes() throws {
        var cache = ConversationCache()
        cache.keep(ConversationState(), for: Self.stream(1))
        var largest = 0
        for sequence in 1...100 as ClosedRange<UInt64> {
            cache.add([Self.turn(sequence, size: 1_000_000)], to: Self.stream(1))
            if sequence.isMultiple(of: 10) { largest = max(largest, cache.state(of: Self.stream(1))?.bytes ?? 0) }
        }
        #expect(largest > 0)
        #expect(largest < 34_000_000)
    }
}
