import Core
import Swarm
import Testing

@Suite struct ReplicationCodecTests {
    private static func operation(_ random: inout Seeded, _ dot: Dot) -> Operation {
        let kinds: [UInt8] = [1, 2, 4, 5, 14, 15, 99]
        let kind = Operation.Kind(rawValue: random.pick(kinds) ?? 1)
        let flags = Operation.Flags(rawValue: random.below(4) == 0 ? UInt8(random.below(5)) : 0)
        let after = (0..<random.below(4)).map { _ in
            Dot(
                origin: Fixture.origin(UInt64(random.below(4)), epoch: UInt32(1 + random.below(2))),
                sequence: 1 + random.next() >> UInt64(4 + random.below(60)))
        }
        let text = String(repeating: "x", count: random.below(40))
        let body =
            random.below(3) == 0 ? [UInt8](text.utf8) : Fixture.body(text, kind == .assistantTurn ? kind : .userTurn)
        return Operation(
            dot: dot, kind: kind, flags: flags,
            timestamp: HybridTimestamp(rawValue: random.next() >> UInt64(random.below(64))),
            stream: StreamID(Bytes16(high: 0, low: UInt64(random.below(6)))), dependencies: after, body: body)
    }

    private static func batch(_ random: inout Seeded) -> OperationBatch {
        let origin = Fixture.origin(UInt64(random.below(4)), epoch: UInt32(1 + random.below(2)))
        let first = 1 + random.next() >> UInt64(8 + random.below(56))
        let count = 1 + random.below(6)
        let operations = (0..<count).map { operation(&random, Dot(origin: origin, sequence: first + UInt64($0))) }
        return OperationBatch(
            operations: operations,
            seal: BatchSeal(
                origin: origin, sequence: first + UInt64(count) - 1,
                author: Fixture.seals(origin.node.bytes.low).author,
                signature: (0..<64).map { _ in UInt8(random.below(256)) }))
    }

    private static func message(_ random: inout Seeded) -> ReplicationMessage {
        func bytes16() -> Bytes16 { Bytes16(high: random.next(), low: random.next()) }
        func marks() -> [ReplicationMessage.Mark] {
            (0..<random.below(5)).map { _ in
                ReplicationMessage.Mark(
                    Fixture.origin(UInt64(random.below(9))), random.next() >> UInt64(random.below(64)))
            }
        }
        return switch random.below(10) {
        case 0: .push((0...random.below(3)).map { _ in batch(&random) })
        case 1: .answer(batch(&random))
        case 2:
            .vector(
                marks(), isWhole: random.below(2) == 0, isQuestion: random.below(2) == 0, digest: bytes16())
        case 3: .keepalive(digest: bytes16())
        case 4: .stored(marks())
        case 5: .pull(marks())
        case 6: .nothing(ReplicationMessage.Mark(Fixture.origin(3), 7))
        case 7: .neighbours((0..<random.below(4)).map { _ in NodeID(bytes16()) })
        case 8:
            .holdings(
                (0..<random.below(4)).map { _ in ReplicationMessage.Holding(node: NodeID(bytes16()), marks: marks()) })
        default: .heads(marks().map { ReplicationMessage.Head($0, bytes16()) })
        }
    }

    @Test("What is written is read, message after message of one session", arguments: 0..<40 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var random = Seeded(seed)
        var encoder = ReplicationEncoder()
        var decoder = ReplicationDecoder()
        for _ in 0..<60 {
            let message = Self.message(&random)
            let bytes = encoder.encode(message)
            #expect(bytes.count == 1)
            #expect(try decoder.decode(bytes[0]) == message, "seed \(seed)")
        }
    }

    @Test("More conversations and hosts than the tables hold still travel")
    func fullTables() throws {
        var encoder = ReplicationEncoder()
        var decoder = ReplicationDecoder()
        for index in 0..<10_000 as Range<UInt64> {
            let node = index % 5_000
            var operation = Fixture.operation(Dot(origin: Fixture.origin(node), sequence: 1 + index))
            operation.stream = StreamID(Bytes16(high: 1, low: index % 6_000))
            operation.dependencies = [Dot(origin: Fixture.origin((node + 1) % 5_000), sequence: 5)]
            let seal = BatchSeal(
                origin: operation.dot.origin, sequence: 1 + index, author: Fixture.seals(node).author,
                signature: [UInt8](repeating: 3, count: 64))
            let message = ReplicationMessage.push([OperationBatch(operations: [operation], seal: seal)])
            for bytes in encoder.encode(message) {
                guard try decoder.decode(bytes) == message else {
                    Issue.record("message \(index) came differently")
                    return
                }
            }
        }
    }

    @Test("An operation longer than a message of the link travels in pieces")
    func pieces() throws {
        var operation = Fixture.operation(Fixture.dot(1, 1))
        operation.body = [UInt8](repeating: 7, count: Limits.linkMessageBytes + 12_345)
        let message = ReplicationMessage.push([Fixture.batch([operation])])
        var encoder = ReplicationEncoder()
        var decoder = ReplicationDecoder()
        let pieces = encoder.encode(message)
        #expect(pieces.count == 3)
        #expect(pieces.allSatisfy { $0.count <= Limits.linkMessageBytes })
        var whole: ReplicationMessage?
        for piece in pieces { whole = try decoder.decode(piece) }
        #expect(whole == message)
    }

    @Test("Pieces without end are refused")
    func endlessPieces() {
        var decoder = ReplicationDecoder()
        let piece = [LinkChannel.replication.rawValue, 10, 0] + [UInt8](repeating: 0, count: 1024 * 1024)
        #expect(throws: RuntimeError.self) { for _ in 0..<100 { _ = try decoder.decode(piece) } }
        #expect(throws: RuntimeError.self) { try decoder.decode([LinkChannel.replication.rawValue, 10, 1, 3, 10, 1]) }
    }

    @Test("A message of a later version is skipped")
    func unknownType() throws {
        var decoder = ReplicationDecoder()
        #expect(try decoder.decode([LinkChannel.replication.rawValue, 200, 1, 2, 3]) == nil)
    }

    @Test(
        "Changed, cut and invented bytes give errors or other messages, never a trap",
        arguments: 0..<30 as Range<UInt64>)
    func mutations(seed: UInt64) {
        var random = Seeded(seed)
        for _ in 0..<200 {
            var encoder = ReplicationEncoder()
            var decoder = ReplicationDecoder()
            for _ in 0..<3 {
                var bytes = encoder.encode(Self.message(&random))[0]
                for _ in 0..<random.below(3) where bytes.count > 1 {
                    switch random.below(4) {
                    case 0: bytes.removeLast(random.below(bytes.count - 1))
                    case 1: bytes.insert(UInt8(random.below(256)), at: 1 + random.below(bytes.count - 1))
                    case 2: bytes[1 + random.below(bytes.count - 1)] = 0xFF
                    default: bytes[1 + random.below(bytes.count - 1)] ^= 1 << UInt8(random.below(8))
                    }
                }
                guard (try? decoder.decode(bytes)) != nil else { break }
            }
            var noise = [LinkChannel.replication.rawValue, UInt8(1 + random.below(10))]
            noise += (0..<random.below(60)).map { _ in UInt8(random.below(256)) }
            var fresh = ReplicationDecoder()
            _ = try? fresh.decode(noise)
        }
    }

    // MARK: - What it costs

    /// Bytes of the second of two equal messages in one session: the first one introduces the names.
    private static func cost(_ batches: (Int) throws -> [OperationBatch]) rethrows -> Int {
        var encoder = ReplicationEncoder()
        _ = encoder.encode(.push(try batches(0)))
        return encoder.encode(.push(try batches(1))).reduce(0) { $0 + $1.count }
    }

    /// A WebSocket frame's head, masked, and a TLS 1.3 record's with its tag.
    private static func framing(_ bytes: Int) -> Int { (bytes < 126 ? 2 : 4) + 4 + 22 }

    @Test("A lone turn costs at most 120 bytes on the wire beyond its text", arguments: [1, 30, 100, 1_000])
    func loneTurn(length: Int) throws {
        var author = Fixture.log(1)
        _ = author.take([
            try {
                var other = Fixture.log(2)
                return try other.write("x")
            }()
        ])
        let text = String(repeating: "x", count: length)
        let bytes = try Self.cost { round in
            let after = round == 0 ? Fixture.dot(2, 1) : Fixture.dot(1, 1)
            return try author.write(
                [Fixture.draft(text, after: [after])], milliseconds: Fixture.wall + UInt64(round) * 3_600_000)
        }
        let overhead = bytes - length + Self.framing(bytes)
        #expect(overhead <= 120, "\(bytes) bytes for a text of \(length), \(overhead) beyond it on the wire")
    }

    @Test("In batches of four and more a turn costs at most 50 bytes beyond its text", arguments: [4, 8, 64])
    func batches(count: Int) throws {
        var author = Fixture.log(1)
        let text = String(repeating: "x", count: 200)
        let bytes = try Self.cost { round in
            let batches = try (0..<count).map { index in
                let before = author.nextDot()
                let after = before.sequence > 1 ? [Dot(origin: before.origin, sequence: before.sequence - 1)] : []
                return try author.write(
                    [Fixture.draft(text, after: after)],
                    milliseconds: Fixture.wall + UInt64(round * 60_000 + index * 40))
            }.flatMap { $0 }
            return Replication.joined(batches)
        }
        let overhead = Double(bytes - count * 200 + Self.framing(bytes)) / Double(count)
        #expect(overhead <= 50, "\(overhead) bytes an operation")
    }

    @Test("A keepalive costs at most 50 bytes on the wire: an idle link 100 bytes a second, both ways")
    func idle() {
        var encoder = ReplicationEncoder()
        let bytes = encoder.encode(.keepalive(digest: Bytes16(high: 1, low: 2)))[0].count
        #expect(bytes + Self.framing(bytes) <= 50)
    }
}
