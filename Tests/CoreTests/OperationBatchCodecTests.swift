import Testing

@testable import Core

@Suite struct OperationBatchCodecTests {
    static func batch(_ generator: inout some RandomNumberGenerator) -> OperationBatch {
        let origins = (0..<4).map { Origin(node: NodeID(Bytes16(high: 5, low: $0)), epoch: UInt32($0) * 1_000) }
        let origin = origins[0]
        let first = UInt64.random(in: 1...1_000_000, using: &generator)
        let operations = (0..<UInt64.random(in: 1...20, using: &generator)).map { index in
            let dot = Dot(origin: origin, sequence: first + index)
            return Operation(
                dot: dot, kind: Operation.Kind(rawValue: .random(in: 0...255, using: &generator)),
                flags: Operation.Flags(rawValue: .random(in: 0...255, using: &generator)),
                timestamp: HybridTimestamp(rawValue: .random(in: 0...UInt64.max, using: &generator)),
                stream: StreamID(Bytes16(high: 1, low: .random(in: 0...3, using: &generator))),
                dependencies: (0..<Int.random(in: 0...3, using: &generator)).map { _ in
                    Dot(
                        origin: origins[Int.random(in: 0..<4, using: &generator)],
                        sequence: .random(in: 1...dot.sequence + 5, using: &generator))
                },
                body: (0..<Int.random(in: 0...200, using: &generator)).map { _ in
                    .random(in: 0...255, using: &generator)
                })
        }
        let seal = BatchSeal(
            origin: origin, sequence: first + UInt64(operations.count) - 1,
            author: (0..<32).map { _ in .random(in: 0...255, using: &generator) },
            signature: (0..<64).map { _ in .random(in: 0...255, using: &generator) })
        return OperationBatch(operations: operations, seal: seal)
    }

    @Test("What is written is read back")
    func roundTrip() throws {
        var generator = Seeded(1)
        for _ in 0..<300 {
            let batch = Self.batch(&generator)
            #expect(try OperationBatchCodec.decode(OperationBatchCodec.encode(batch)) == batch)
        }
    }

    @Test("Cut short, altered or invented, a batch is refused or well formed; nothing traps")
    func hostile() throws {
        var generator = Seeded(2)
        for _ in 0..<200 {
            let bytes = OperationBatchCodec.encode(Self.batch(&generator))
            #expect(throws: RuntimeError.self) {
                try OperationBatchCodec.decode(Array(bytes.prefix(.random(in: 0..<bytes.count, using: &generator))))
            }
            #expect(throws: RuntimeError.self) { try OperationBatchCodec.decode(bytes + [0]) }
            var altered = bytes
            for _ in 0..<3 {
                altered[.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            if let batch = try? OperationBatchCodec.decode(altered) {
                #expect(batch.operations.last?.dot == Dot(origin: batch.origin, sequence: batch.seal.sequence))
                #expect(batch.operations.first?.dot.sequence ?? 0 > 0)
            }
            var invented = (0..<300).map { _ in UInt8.random(in: 0...255, using: &generator) }
            invented[0] = 1
            #expect(throws: RuntimeError.self) { try OperationBatchCodec.decode(invented) }
        }
    }

    @Test("A batch of short turns costs less than fifty bytes an operation beside the content")
    func overhead() {
        let origin = Origin(node: NodeID(Bytes16(high: 5, low: 5)), epoch: 1)
        let operations = (1...64 as ClosedRange<UInt64>).map { sequence in
            Operation(
                dot: Dot(origin: origin, sequence: sequence), kind: .userTurn,
                timestamp: HybridTimestamp(milliseconds: 1_800_000_000_000),
                stream: StreamID(Bytes16(high: 1, low: sequence % 5)),
                dependencies: sequence > 1 ? [Dot(origin: origin, sequence: sequence - 1)] : [],
                body: [UInt8](repeating: 1, count: 200))
        }
        let seal = BatchSeal(
            origin: origin, sequence: 64, author: [UInt8](repeating: 1, count: 32),
            signature: [UInt8](repeating: 2, count: 64))
        let bytes = OperationBatchCodec.encode(OperationBatch(operations: operations, seal: seal)).count
        #expect((bytes - 64 * 200) / 64 < 25)
    }
}
