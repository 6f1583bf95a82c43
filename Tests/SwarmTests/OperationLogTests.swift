import Core
import Swarm
import Testing

@Suite struct OperationLogTests {
    @Test("The reference hash of these tests is SHA-256")
    func reference() {
        #expect(
            ReferenceSHA256.hash(Array("abc".utf8)).hex
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test("What this host writes is numbered without gaps and chained")
    func proposals() {
        var log = Fixture.log(1)
        var chain = [UInt8](repeating: 0, count: 32)
        var sequence: UInt64 = 0
        var last = HybridTimestamp(rawValue: 0)
        for round in 0..<20 {
            let drafts = (0..<1 + round % 3).map { Fixture.draft("\(round)/\($0)") }
            let expected = log.nextDot(after: drafts.count - 1)
            let actions = log.proposed(drafts, milliseconds: Fixture.wall - UInt64(round))
            #expect(actions.count == 1)
            #expect(actions.applied.map(\.body) == drafts.map(\.body))
            for operation in actions.applied {
                sequence += 1
                #expect(operation.dot == Dot(origin: Fixture.origin(1), sequence: sequence))
                #expect(operation.timestamp > last)
                last = operation.timestamp
                chain = ReferenceSHA256.hash(chain + ReferenceSHA256.hash(OperationCodec.encode(operation)))
            }
            #expect(actions.applied.last?.dot == expected)
            #expect(actions.heads == [LogHead(origin: Fixture.origin(1), sequence: sequence, chain: ChainHash(chain))])
        }
        #expect(log.applied[Fixture.origin(1)] == sequence)
    }

    @Test("No drafts, no actions")
    func nothing() {
        var log = Fixture.log(1)
        #expect(log.proposed([], milliseconds: 1).isEmpty)
        #expect(log.received([], milliseconds: 1).isEmpty)
    }

    @Test("A chain goes on over erased operations: they carry the hash that they had")
    func erased() {
        var author = Fixture.log(1)
        let operations = author.proposed([Fixture.draft("a"), Fixture.draft("b")], milliseconds: 1).applied
        var reader = Fixture.log(2)
        var erased = operations[0]
        erased.flags = .erased
        erased.body = ReferenceSHA256.hash(OperationCodec.encode(operations[0]))
        _ = reader.received([erased, operations[1]], milliseconds: 1)
        #expect(reader.head(of: Fixture.origin(1)) == author.head(of: Fixture.origin(1)))
    }

    @Test("A log goes on where the store says it stood")
    func recovered() {
        var first = Fixture.log(1)
        _ = first.proposed([Fixture.draft(), Fixture.draft()], milliseconds: Fixture.wall)
        let latest = HybridTimestamp(milliseconds: Fixture.wall, counter: 1)
        var second = OperationLog(
            RecoveredLog(origin: Fixture.origin(1), heads: [first.head(of: Fixture.origin(1))], latestTimestamp: latest)
        )
        let ours = first.proposed([Fixture.draft("z")], milliseconds: Fixture.wall)
        let theirs = second.proposed([Fixture.draft("z")], milliseconds: Fixture.wall - 5_000)
        #expect(theirs.heads == ours.heads)
        #expect(theirs.applied == ours.applied)
    }

    @Test("A gap asks for what is missing, and closing it applies all at once")
    func gaps() {
        var author = Fixture.log(1)
        let operations = author.proposed((0..<5).map { Fixture.draft("\($0)") }, milliseconds: 1).applied
        var reader = Fixture.log(2)
        let early = reader.received([operations[0], operations[2], operations[4]], milliseconds: 1)
        #expect(early.applied == [operations[0]])
        #expect(early.pulls == [Fixture.dot(1, 1)])
        let late = reader.received([operations[1], operations[3]], milliseconds: 1)
        #expect(late.applied == Array(operations[1...]))
        #expect(late.pulls.isEmpty)
    }

    @Test("An operation waits for what it depends on, whoever wrote that")
    func dependencies() {
        var first = Fixture.log(1)
        var second = Fixture.log(2)
        let cause = first.proposed([Fixture.draft("a"), Fixture.draft("b")], milliseconds: 1).applied
        _ = second.received(cause, milliseconds: 1)
        let effect = second.proposed([Fixture.draft("c", after: [Fixture.dot(1, 2)])], milliseconds: 1).applied
        var reader = Fixture.log(3)
        let waiting = reader.received(effect, milliseconds: 1)
        #expect(waiting.applied.isEmpty)
        #expect(waiting.pulls == [Fixture.dot(1, 0)])
        #expect(reader.received(cause, milliseconds: 1).applied == cause + effect)
    }

    @Test("Says what a peer has more than this host")
    func behind() {
        var reader = Fixture.log(9)
        _ = reader.received([Fixture.operation(Fixture.dot(1, 1))], milliseconds: 1)
        var theirs = VersionVector()
        theirs[Fixture.origin(1)] = 4
        theirs[Fixture.origin(2)] = 2
        #expect(reader.behind(theirs).pulls == [Fixture.dot(1, 1), Fixture.dot(2, 0)])
        #expect(reader.behind(reader.applied).isEmpty)
    }

    @Test("A clock too far ahead is told, not followed; the operation is taken")
    func clockAhead() {
        var reader = Fixture.log(2)
        let operation = Fixture.operation(Fixture.dot(1, 1), at: 100_000)
        let actions = reader.received([operation], milliseconds: 1_000)
        #expect(actions.contains(.clockAhead(Fixture.origin(1).node, milliseconds: 100_000)))
        #expect(actions.applied == [operation])
        #expect(reader.proposed([Fixture.draft()], milliseconds: 1_000).applied.first?.timestamp.milliseconds == 1_000)
    }

    @Test("A long batch in order is taken whole: only what waits counts against the bounds")
    func longBatch() {
        var author = Fixture.log(1)
        let count = Limits.parkedOperationsPerOrigin * 3
        let operations = author.proposed((0..<count).map { Fixture.draft("\($0)") }, milliseconds: 1).applied
        var reader = Fixture.log(2)
        let actions = reader.received(operations, milliseconds: 1)
        #expect(actions.applied == operations)
        #expect(actions.dropped.isEmpty)
        #expect(reader.head(of: Fixture.origin(1)) == author.head(of: Fixture.origin(1)))
    }

    @Test("What waits for a gap is bounded in number; what was dropped is asked for once the gap closes")
    func parkedCount() {
        var author = Fixture.log(1)
        let count = Limits.parkedOperationsPerOrigin + 10
        let operations = author.proposed((0..<count).map { Fixture.draft("\($0)") }, milliseconds: 1).applied
        var reader = Fixture.log(2)
        let early = reader.received(Array(operations.dropFirst()), milliseconds: 1)
        #expect(early.applied.isEmpty)
        #expect(early.dropped == operations.suffix(9).map(\.dot))
        let late = reader.received([operations[0]] + operations.suffix(1), milliseconds: 1)
        #expect(late.applied.count == Limits.parkedOperationsPerOrigin + 1)
        #expect(late.pulls == [Fixture.dot(1, UInt64(Limits.parkedOperationsPerOrigin + 1))])
    }

    @Test("What waits for a gap is bounded in bytes")
    func parkedBytes() {
        var reader = Fixture.log(2)
        var dropped = 0
        for sequence in 2...20 as ClosedRange<UInt64> {
            var operation = Fixture.operation(Fixture.dot(1, sequence))
            operation.body = [UInt8](repeating: 0, count: Limits.parkedBytesPerOrigin / 10)
            dropped += reader.received([operation], milliseconds: 1).dropped.count
        }
        #expect(dropped >= 9)
    }

    @Test("What waits is bounded over all origins, also at the head of each one's queue")
    func parkedInAll() {
        var reader = Fixture.log(2)
        var kept = 0
        for node in 100..<400 as Range<UInt64> {
            var operation = Fixture.operation(Fixture.dot(node, 1), after: [Fixture.dot(1, 1)])
            operation.body = [UInt8](repeating: 0, count: Limits.parkedBytesPerOrigin / 10)
            if reader.received([operation], milliseconds: 1).dropped.isEmpty { kept += operation.body.count }
        }
        #expect(kept > 1024 * 1024)
        #expect(kept <= 8 * 1024 * 1024)
    }

    @Test("An abandoned epoch is never written again, however often it happens")
    func abandonedEpochs() {
        var log = Fixture.log(1)
        var given: Set<Dot> = []
        for round in 0..<5 {
            let before = log
            let lost = log.proposed([Fixture.draft("lost \(round)")], milliseconds: 1).applied
            for operation in lost { #expect(given.insert(operation.dot).inserted) }
            log = before
            log.abandonEpoch()
            let kept = log.proposed([Fixture.draft("kept \(round)")], milliseconds: 1).applied
            for operation in kept { #expect(given.insert(operation.dot).inserted) }
        }
    }

    @Test("A new epoch is above every one of this host that is known, also when a peer told of it")
    func epochsAbovePeers() {
        var log = Fixture.log(1)
        let later = Dot(origin: Fixture.origin(1, epoch: 2), sequence: 1)
        _ = log.received([Fixture.operation(later)], milliseconds: 1)
        log.abandonEpoch()
        #expect(log.origin.epoch > 2)
    }

    @Test("A peer that holds more of this host's epoch than the host itself ends the epoch (restored backup)")
    func restoredBackup() {
        var original = Fixture.log(1)
        let operations = original.proposed((0..<3).map { Fixture.draft("\($0)") }, milliseconds: 1).applied
        var restored = Fixture.log(1)
        _ = restored.received(Array(operations.prefix(1)), milliseconds: 1)
        #expect(restored.behind(original.applied).pulls == [Fixture.dot(1, restored.applied[Fixture.origin(1)])])
        let written = restored.proposed([Fixture.draft("new")], milliseconds: 1).applied
        #expect(written.allSatisfy { !original.applied.contains($0.dot) })
        #expect(restored.received(operations, milliseconds: 1).applied.last == operations.last)
    }

    @Test("Numbers at the end of their range neither trap nor wrap")
    func extremes() {
        var log = Fixture.log(1)
        let far = [
            Fixture.operation(Dot(origin: Fixture.origin(2), sequence: .max), at: .max),
            Fixture.operation(Dot(origin: Fixture.origin(1, epoch: .max), sequence: .max)),
            Fixture.operation(Dot(origin: Fixture.origin(3), sequence: 0)),
        ]
        #expect(log.received(far, milliseconds: 1).applied.isEmpty)
        var theirs = VersionVector()
        theirs[Fixture.origin(1, epoch: .max)] = .max
        _ = log.behind(theirs)
        log.abandonEpoch()
        #expect(log.origin.epoch >= 1)
        #expect(log.proposed([Fixture.draft()], milliseconds: .max).applied.count == 1)
    }
}
