import Core
import Cryptography
import Testing

@testable import Store

@Suite struct RowTests {
    static let origins = (0..<4).map { Origin(node: NodeID(Bytes16(high: 9, low: UInt64($0))), epoch: 1) }

    static func index(_ origin: Origin) -> Int64 { Int64(origins.firstIndex(of: origin) ?? -1) + 1 }

    static func origin(_ index: Int64) throws(RuntimeError) -> Origin {
        guard (1...4).contains(index) else { throw RuntimeError(.corrupt, "no such origin") }
        return origins[Int(index) - 1]
    }

    static func random(_ generator: inout SeededGenerator) -> OperationRow {
        let dot = Dot(origin: origins[0], sequence: UInt64.random(in: 1...1 << 40, using: &generator))
        let dependencies = (0..<Int.random(in: 0...5, using: &generator)).map { _ in
            Dot(
                origin: origins[Int.random(in: 0..<4, using: &generator)],
                sequence: UInt64.random(in: 1...1 << 40, using: &generator))
        }
        let operation = Operation(
            dot: dot, kind: Operation.Kind(rawValue: UInt8.random(in: 0...255, using: &generator)),
            flags: Bool.random(using: &generator) ? .erased : [],
            timestamp: HybridTimestamp(rawValue: generator.next()), stream: Fixture.stream(1),
            dependencies: dependencies,
            body: (0..<Int.random(in: 0...300, using: &generator)).map { UInt8(truncatingIfNeeded: $0) })
        return OperationRow(
            operation: operation,
            prefixes: (0..<Int.random(in: 0...3, using: &generator)).map { _ in generator.next() })
    }

    @Test("An operation's row gives back the operation and its prefixes", arguments: 0..<20 as Range<UInt64>)
    func operationRoundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            let row = Self.random(&generator)
            let content = try row.encoded { Self.index($0) }
            let read = try OperationRow(
                content, dot: row.operation.dot, kind: row.operation.kind, stream: row.operation.stream
            ) { index throws(RuntimeError) in try Self.origin(index) }
            #expect(read.operation == row.operation && read.prefixes == row.prefixes)
        }
    }

    @Test("A turn that follows the one before it costs 20 bytes more than its body")
    func cost() throws {
        let dot = Dot(origin: Self.origins[0], sequence: 1 << 39)
        let operation = Operation(
            dot: dot, kind: .userTurn, timestamp: HybridTimestamp(rawValue: .max), stream: Fixture.stream(1),
            dependencies: [Dot(origin: dot.origin, sequence: dot.sequence - 100)], body: [1, 2, 3])
        let row = OperationRow(operation: operation, prefixes: [.max])
        #expect(try row.encoded { Self.index($0) }.count == 3 + 21)
    }

    @Test("Garbage for a row is refused or read, never worse", arguments: 0..<20 as Range<UInt64>)
    func garbage(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var bytes = try Self.random(&generator).encoded { Self.index($0) }
            if !bytes.isEmpty, Bool.random(using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            bytes.removeLast(Int.random(in: 0...bytes.count, using: &generator))
            let dot = Dot(origin: Self.origins[0], sequence: 5)
            do throws(RuntimeError) {
                _ = try OperationRow(bytes, dot: dot, kind: .userTurn, stream: Fixture.stream(1)) {
                    index throws(RuntimeError) in try Self.origin(index)
                }
            } catch { #expect(error.code == .corrupt) }
            do throws(RuntimeError) { _ = try StreamRow(bytes) } catch { #expect(error.code == .corrupt) }
            do throws(RuntimeError) { _ = try StoreState(bytes) } catch { #expect(error.code == .corrupt) }
            do throws(RuntimeError) {
                _ = try OriginRow(bytes, index: 1, origin: dot.origin)
            } catch { #expect(error.code == .corrupt) }
        }
    }

    @Test("The rows of streams, origins and the store give back what they were made of")
    func otherRoundTrips() throws {
        var stream = StreamRow(stream: Fixture.stream(4), operations: 300)
        #expect(try StreamRow(stream.encoded).header == nil)
        stream.header = ConversationHeader(
            stream: Fixture.stream(4), id: ConversationID("c", hexOf: [1]), owner: Owner(name: "Zoë\u{0}"),
            created: HybridTimestamp(rawValue: 5), updated: HybridTimestamp(rawValue: .max), turns: 77)
        let read = try StreamRow(stream.encoded)
        #expect(read.stream == stream.stream && read.operations == 300 && read.header == stream.header)

        var origin = OriginRow(index: 3, origin: Self.origins[1])
        origin.sequence = 9
        origin.chain = ChainHash([UInt8](repeating: 6, count: 32))
        origin.latest = HybridTimestamp(rawValue: 12)
        let head = try OriginRow(origin.encoded, index: 3, origin: Self.origins[1])
        #expect(head.head == origin.head && head.latest == origin.latest && head.seal == nil)
        let seal = BatchSeal(
            origin: Self.origins[1], sequence: 7, author: [UInt8](repeating: 1, count: 32),
            signature: [UInt8](repeating: 2, count: 64))
        #expect(origin.take(seal) == nil)
        let sealed = try OriginRow(origin.encoded, index: 3, origin: Self.origins[1])
        #expect(sealed.head == origin.head && sealed.seal == seal && sealed.encoded == origin.encoded)

        var state = StoreState()
        (state.node, state.epoch, state.isClean, state.runs) = (Fixture.peer, 3, false, 12)
        (state.conversations, state.operations, state.records) = (4, 500, 60_000)
        #expect(try StoreState(state.encoded).encoded == state.encoded)
    }

    @Test("A sealed record opens in its own place only, and costs 29 bytes")
    func places() throws {
        let store = Bytes16(high: 1, low: 1)
        let keys = [1: try SymmetricKey(random: 32), 2: try SymmetricKey(random: 32)] as [UInt8: SymmetricKey]
        let ring = try KeyRing(store: store, keys: keys)
        let dot = Dot(origin: Self.origins[0], sequence: 1)
        let places: [RowPlace] = [
            .operation(dot, .userTurn, Fixture.stream(1)), .operation(dot, .assistantTurn, Fixture.stream(1)),
            .operation(dot, .userTurn, Fixture.stream(2)),
            .operation(Dot(origin: Self.origins[0], sequence: 2), .userTurn, Fixture.stream(1)),
            .operation(Dot(origin: Self.origins[1], sequence: 1), .userTurn, Fixture.stream(1)), .stream(1),
            .stream(2), .origin(1, Self.origins[0]), .origin(2, Self.origins[0]), .origin(1, Self.origins[1]), .state,
            .seal(dot), .seal(Dot(origin: Self.origins[0], sequence: 2)),
        ]
        for (index, place) in places.enumerated() {
            let record = try ring.seal([1, 2, 3], as: place)
            #expect(record.count == 3 + 29 && record[0] == 2)
            for (other, candidate) in places.enumerated() {
                #expect((ring.open(record, as: candidate) == [1, 2, 3]) == (index == other))
            }
            let elsewhere = try KeyRing(store: Bytes16(high: 1, low: 2), keys: keys)
            #expect(elsewhere.open(record, as: place) == nil)
            #expect(ring.open([1] + record.dropFirst(), as: place) == nil)
            #expect(ring.open([9] + record.dropFirst(), as: place) == nil)
        }
        #expect(ring.open([], as: .state) == nil)
        #expect(throws: RuntimeError.self) { try KeyRing(store: store, keys: [2: SymmetricKey(random: 32)]) }
    }
}
