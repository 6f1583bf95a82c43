import Core
import Testing

@Suite struct OperationCodecTests {
    @Test("What is encoded is decoded alike, for random operations")
    func roundTrip() throws {
        var random = Seeded(1)
        for round in 0..<2_000 {
            let operation = random.operation()
            #expect(try OperationCodec.decode(OperationCodec.encode(operation)) == operation, "round \(round)")
        }
    }

    @Test("Refuses an encoding cut at any byte, and one with a byte too many")
    func truncation() throws {
        var random = Seeded(2)
        for _ in 0..<50 {
            let bytes = OperationCodec.encode(random.operation())
            let accepted = bytes.indices.filter { (try? OperationCodec.decode(Array(bytes.prefix($0)))) != nil }
            #expect(accepted.isEmpty)
            #expect(throws: RuntimeError.self) { try OperationCodec.decode(bytes + [0]) }
        }
    }

    @Test("A flipped bit is refused or decodes to something that encodes to the same bytes: one encoding a value")
    func flippedBits() throws {
        var random = Seeded(3)
        var refused = 0
        for _ in 0..<20 {
            let bytes = OperationCodec.encode(random.operation())
            for bit in 0..<bytes.count * 8 {
                var flipped = bytes
                flipped[bit / 8] ^= 1 << UInt8(bit % 8)
                guard let operation = try? OperationCodec.decode(flipped) else {
                    refused += 1
                    continue
                }
                if OperationCodec.encode(operation) != flipped { Issue.record("bit \(bit) of \(bytes.hex)") }
            }
        }
        #expect(refused > 100)
    }

    @Test("Garbage never traps and is canonical where it decodes")
    func garbage() {
        var random = Seeded(4)
        for _ in 0..<20_000 {
            var bytes = random.bytes(random.below(120))
            if !bytes.isEmpty { bytes[0] = OperationCodec.version }
            if let operation = try? OperationCodec.decode(bytes) {
                #expect(OperationCodec.encode(operation) == bytes)
            }
        }
    }

    @Test("Refuses more dependencies than the bound, however short the data")
    func dependencyBound() {
        var random = Seeded(5)
        var operation = random.operation()
        operation.dependencies = (0..<Limits.operationDependencies).map { _ in random.dot() }
        #expect(throws: Never.self) { try OperationCodec.decode(OperationCodec.encode(operation)) }
        operation.dependencies.append(random.dot())
        #expect { try OperationCodec.decode(OperationCodec.encode(operation)) } throws: {
            ($0 as? RuntimeError)?.code == .corrupt
        }
    }

    @Test("Refuses a format version that it does not know")
    func version() {
        var random = Seeded(6)
        let bytes = [OperationCodec.version + 1] + OperationCodec.encode(random.operation()).dropFirst()
        #expect { try OperationCodec.decode(bytes) } throws: { "\($0)".contains("format 2") }
    }

    @Test("Refuses sequence 0")
    func sequenceZero() {
        var random = Seeded(7)
        var operation = random.operation()
        operation.dot = Dot(origin: random.origin(), sequence: 0)
        #expect(throws: RuntimeError.self) { try OperationCodec.decode(OperationCodec.encode(operation)) }
    }

    @Test("The bytes of one operation are these, for ever: the chain hash covers them")
    func golden() {
        let origin = Origin(node: NodeID(Bytes16(high: 0x0102_0304_0506_0708, low: 0x090A_0B0C_0D0E_0F10)), epoch: 7)
        let operation = Operation(
            dot: Dot(origin: origin, sequence: 300), kind: .userTurn,
            timestamp: HybridTimestamp(milliseconds: 5, counter: 2),
            stream: StreamID(Bytes16(high: 1, low: 2)), dependencies: [Dot(origin: origin, sequence: 299)],
            body: [0xAA, 0xBB])
        #expect(
            OperationCodec.encode(operation).hex
                == "010100" + "0102030405060708090a0b0c0d0e0f1000000007" + "ac02" + "0000000000050002"
                + "00000000000000010000000000000002" + "01" + "0102030405060708090a0b0c0d0e0f1000000007" + "ab02"
                + "02aabb")
    }
}
