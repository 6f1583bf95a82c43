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

    @Test("What this host writes is numbered without gaps, chained and sealed")
    func proposals() throws {
        var log = Fixture.log(1)
        var chain = [UInt8](repeating: 0, count: 32)
        var sequence: UInt64 = 0
        var last = HybridTimestamp(rawValue: 0)
        for round in 0..<20 {
            let drafts = (0..<1 + round % 3).map { Fixture.draft("\(round)/\($0)") }
            let expected = log.nextDot(after: drafts.count - 1)
            let (advance, batches) = try log.proposed(drafts, milliseconds: Fixture.wall - UInt64(round))
            #expect(advance.operations.map(\.body) == drafts.map(\.body))
            for operation in advance.operations {
                sequence += 1
                #expect(operation.dot == Dot(origin: Fixture.origin(1), sequence: sequence))
                #expect(operation.timestamp > last)
                last = operation.timestamp
                chain = ReferenceSHA256.hash(chain + ReferenceSHA256.hash(OperationCodec.encode(operation)))
            }
            let head = LogHead(origin: Fixture.origin(1), sequence: sequence, chain: ChainHash(chain))
            #expect(advance.operations.last?.dot == expected)
            #expect(advance.heads == [head])
            #expect(batches.map(\.operations) == [advance.operations])
            #expect(advance.seals == batches.map(\.seal))
            #expect(batches.map(\.seal) == [try Fixture.seals(1).sealed(head)])
        }
        #expect(log.applied[Fixture.origin(1)] == sequence)
    }

    @Test("No drafts, no operations")
    func nothing() throws {
        var log = Fixture.log(1)
        #expect(try log.proposed([], milliseconds: 1).batches.isEmpty)
        #expect(log.take([]).isEmpty)
    }

    @Test("A long history leaves in batches of bounded size, each with its seal")
    func longHistory() throws {
        var author = Fixture.log(1)
        let drafts = (0..<Limits.batchOperations * 2 + 5).map { Fixture.draft("\($0)") }
        let batches = try author.write(drafts)
        #expect(batches.map(\.operations.count) == [Limits.batchOperations, Limits.batchOperations, 5])
        var reader = Fixture.log(2)
        #expect(reader.take(batches).applied.count == drafts.count)
        #expect(reader.head(of: Fixture.origin(1)) == author.head(of: Fixture.origin(1)))
    }

    @Test("Where the signing fails nothing is numbered")
    func unsigned() throws {
        var scheme = Fixture.seals(1)
        scheme.sign = { _ throws(RuntimeError) in throw RuntimeError(.internal, "no") }
        var log = OperationLog(Fixture.recovered(1), seals: scheme)
        #expect(throws: RuntimeError.self) { try log.proposed([Fixture.draft()], milliseconds: 1) }
        #expect(log.nextDot() == Fixture.dot(1, 1))
        #expect(log.applied.isEmpty)
    }

    @Test("A chain goes on over erased operations: they carry the hash that they had")
    func erased() throws {
        var author = Fixture.log(1)
        var batch = try #require(try author.write([Fixture.draft("a"), Fixture.draft("b")]).first)
        let hash = ReferenceSHA256.hash(OperationCodec.encode(batch.operations[0]))
        batch.operations[0] = batch.operations[0].erased
        #expect(batch.operations[0].body == hash)
        var reader = Fixture.log(2)
        #expect(reader.take([batch]).applied == batch.operations)
        #expect(reader.head(of: Fixture.origin(1)) == author.head(of: Fixture.origin(1)))
    }

    @Test("A log goes on where the store says it stood")
    func recovered() throws {
        var first = Fixture.log(1)
        _ = try first.write([Fixture.draft(), Fixture.draft()])
        let latest = HybridTimestamp(milliseconds: Fixture.wall, counter: 1)
        var second = OperationLog(
            RecoveredLog(
                origin: Fixture.origin(1), heads: [first.head(of: Fixture.origin(1))], latestTimestamp: latest),
            seals: Fixture.seals(1))
        let ours = try first.proposed([Fixture.draft("z")], milliseconds: Fixture.wall)
        let theirs = try second.proposed([Fixture.draft("z")], milliseconds: Fixture.wall - 5_000)
        #expect(theirs.advance == ours.advance)
    }

    @Test("A gap at any place asks for what is missing, and closing it applies all at once", arguments: 0..<5)
    func gaps(missing: Int) throws {
        var author = Fixture.log(1)
        let batches = try (0..<5).map { try author.write("\($0)") }
        var reader = Fixture.log(2)
        let early = reader.take(batches.enumerated().filter { $0.offset != missing }.map(\.element))
        #expect(early.applied == batches.prefix(missing).flatMap(\.operations))
        #expect(early.pulls == (missing < 4 ? [Fixture.dot(1, UInt64(missing))] : []))
        let late = reader.take([batches[missing]])
        #expect(late.applied == batches.dropFirst(missing).flatMap(\.operations))
        #expect(late.pulls.isEmpty)
        #expect(reader.head(of: Fixture.origin(1)) == author.head(of: Fixture.origin(1)))
    }

    @Test("What overlaps with what is here is taken from where it goes on", arguments: 0..<4)
    func overlap(known: Int) throws {
        var author = Fixture.log(1)
        let batches = try (0..<4).map { try author.write("\($0)") }
        var reader = Fixture.log(2)
        _ = reader.take(Array(batches.prefix(known)))
        let whole = OperationBatch(operations: batches.flatMap(\.operations), seal: batches[3].seal)
        #expect(reader.take([whole]).applied == batches.dropFirst(known).flatMap(\.operations))
        #expect(reader.take([whole]).isEmpty)
    }

    @Test("An operation waits for what it depends on, whoever wrote that")
    func dependencies() throws {
        var first = Fixture.log(1)
        var second = Fixture.log(2)
        let cause = try first.write([Fixture.draft("a"), Fixture.draft("b")])
        _ = second.take(cause)
        let effect = try second.write("c", after: [Fixture.dot(1, 2)])
        var reader = Fixture.log(3)
        let waiting = reader.take([effect])
        #expect(waiting.applied.isEmpty)
        #expect(waiting.pulls == [Fixture.dot(1, 0)])
        #expect(reader.take(cause).applied == cause.flatMap(\.operations) + effect.operations)
    }

    @Test("What its author sealed as one is applied as one; what a store joined is applied as far as it goes")
    func wholeBatches() throws {
        var first = Fixture.log(1)
        var second = Fixture.log(2)
        let cause = try first.write("a")
        _ = second.take([cause])
        let effects = try second.write([Fixture.draft("b"), Fixture.draft("c", after: [Fixture.dot(1, 1)])])
        var reader = Fixture.log(3)
        #expect(reader.take(effects).applied.isEmpty)
        #expect(reader.take([cause]).applied.count == 3)
        var other = Fixture.log(4)
        let part = other.take(effects, isDivisible: true)
        #expect(part.applied == Array(effects[0].operations.prefix(1)))
        #expect(part.seals.isEmpty)
        let rest = other.take([cause])
        #expect(rest.applied.count == 2)
        #expect(rest.seals.count == 2)
    }

    // MARK: - Seals

    @Test("A batch that is not what its author signed is thrown away, and who sent it is named")
    func forged() throws {
        var author = Fixture.log(1)
        let original = try #require(try author.write([Fixture.draft("a"), Fixture.draft("b")]).first)
        var changed: [OperationBatch] = []
        var copy = original
        copy.operations[1].body = Fixture.body("c")
        changed.append(copy)
        copy = original
        copy.operations.removeLast()
        copy.seal.sequence = 1
        changed.append(copy)
        copy = original
        copy.operations.swapAt(0, 1)
        changed.append(copy)
        copy = original
        copy.seal.signature[0] ^= 1
        changed.append(copy)
        copy = original
        copy.seal.author = Fixture.seals(2).author
        changed.append(copy)
        copy = original
        copy.operations[0].flags = .erased
        changed.append(copy)
        copy = original
        copy.operations = []
        changed.append(copy)
        for batch in changed {
            var reader = Fixture.log(2)
            let actions = reader.take([batch])
            #expect(actions.applied.isEmpty)
            #expect(actions.rejected == [Fixture.peer])
            #expect(reader.parked.batches == 0)
            #expect(reader.take([original]).applied.count == 2)
        }
    }

    @Test("A forged batch over a gap does not keep the true one away")
    func forgedOverGap() throws {
        var author = Fixture.log(1)
        let batches = try (0..<3).map { try author.write("\($0)") }
        var forged = batches[1]
        forged.operations[0].body = Fixture.body("no")
        forged.operations += batches[2].operations
        forged.seal = batches[2].seal
        var reader = Fixture.log(2)
        _ = reader.received([forged], from: NodeID(Bytes16(high: 0, low: 66)), milliseconds: 1)
        _ = reader.take([batches[1], batches[2]])
        let actions = reader.take([batches[0]])
        #expect(actions.applied == batches.flatMap(\.operations))
    }

    @Test("An author that signs two streams is found out, kept as proof and read no further", arguments: [1, 2, 3])
    func equivocation(place: Int) throws {
        // Two hosts with one identity and one past.
        var original = Fixture.log(1)
        var past: [OperationBatch] = []
        for index in 1..<place { past.append(try original.write("\(index)")) }
        var copy = original
        let ours = try original.write("ours")
        let theirs = [try copy.write("theirs"), try copy.write("more")]
        var reader = Fixture.log(2)
        _ = reader.take(past + [ours])
        let actions = reader.take([theirs[0]])
        let proof = try #require(actions.proofs.first)
        #expect(proof.fork.sequence == UInt64(place - 1) && proof.origin == Fixture.origin(1))
        #expect(proof.theirs == theirs[0])
        #expect(reader.frozen == [Fixture.origin(1)])
        #expect(reader.take([theirs[1]]).isEmpty)
        #expect(reader.take([try original.write("later")]).isEmpty)
        // What goes on over the other stream is recognised once it comes with its beginning.
        var second = Fixture.log(3)
        _ = second.take(past + [ours])
        #expect(second.take([theirs[1]]).rejected == [Fixture.peer])
        let whole = OperationBatch(operations: theirs.flatMap(\.operations), seal: theirs[1].seal)
        #expect(second.take([whole], isDivisible: true).proofs.count == 1)
    }

    @Test("Nobody waits for more of an author that signed two streams")
    func frozenDependencies() throws {
        var original = Fixture.log(1)
        var copy = original
        let ours = try original.write("ours")
        let theirs = try copy.write("theirs")
        var reader = Fixture.log(2)
        _ = reader.take([ours, theirs])
        var other = Fixture.log(3)
        _ = other.take([ours, try original.write("next")])
        let effect = try other.write("effect", after: [Fixture.dot(1, 2)])
        #expect(reader.take([effect]).applied == effect.operations)
    }

    @Test("Somebody else's words in this host's own stream end the stream")
    func clonedSelf() throws {
        var original = Fixture.log(1)
        var copy = original
        _ = try original.write("ours")
        let theirs = try copy.write("theirs")
        #expect(original.take([theirs]).proofs.count == 1)
        #expect(original.origin.epoch == 2)
        #expect(try original.write("anew").operations[0].dot.origin == Fixture.origin(1, epoch: 2))
    }

    // MARK: - Bounds

    @Test("A clock too far ahead is told, not followed; the operation is taken")
    func clockAhead() throws {
        var reader = Fixture.log(2)
        let batch = Fixture.batch([Fixture.operation(Fixture.dot(1, 1), at: 100_000)])
        let actions = reader.received([batch], from: Fixture.peer, milliseconds: 1_000)
        #expect(actions.contains(.clockAhead(Fixture.origin(1).node, milliseconds: 100_000)))
        #expect(actions.applied == batch.operations)
        let own = try reader.proposed([Fixture.draft()], milliseconds: 1_000).advance.operations
        #expect(own.first?.timestamp.milliseconds == 1_000)
    }

    @Test("A long row of batches in order is taken whole: only what waits counts against the bounds")
    func longRow() throws {
        var author = Fixture.log(1)
        let batches = try (0..<Limits.parkedOperationsPerOrigin * 3).map { try author.write("\($0)") }
        var reader = Fixture.log(2)
        let actions = reader.take(batches)
        #expect(actions.applied == batches.flatMap(\.operations))
        #expect(actions.dropped.isEmpty)
    }

    @Test("What waits for a gap is bounded in number; what was dropped is asked for once the gap closes")
    func parkedCount() throws {
        var author = Fixture.log(1)
        let count = Limits.parkedOperationsPerOrigin + 10
        let batches = try (0..<count).map { try author.write("\($0)") }
        var reader = Fixture.log(2)
        let early = reader.take(Array(batches.dropFirst()))
        #expect(early.applied.isEmpty)
        #expect(early.dropped == batches.suffix(9).map { $0.operations[0].dot })
        let late = reader.take([batches[0]] + batches.suffix(1))
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
            dropped += reader.take([Fixture.batch([operation])]).dropped.count
        }
        #expect(dropped >= 9)
        #expect(reader.parked.bytes <= Limits.parkedBytesPerOrigin)
    }

    @Test("What waits is bounded over all origins, also at the head of each one's queue")
    func parkedInAll() {
        var reader = Fixture.log(2)
        var kept = 0
        for node in 100..<400 as Range<UInt64> {
            var operation = Fixture.operation(Fixture.dot(node, 1), after: [Fixture.dot(1, 1)])
            operation.body = [UInt8](repeating: 0, count: Limits.parkedBytesPerOrigin / 10)
            if reader.take([Fixture.batch([operation])]).dropped.isEmpty { kept += operation.body.count }
        }
        #expect(kept > 1024 * 1024)
        #expect(reader.parked.bytes <= Limits.parkedBytes)
    }

    // MARK: - Epochs

    @Test("An abandoned epoch is never written again, however often it happens")
    func abandonedEpochs() throws {
        var log = Fixture.log(1)
        var given: Set<Dot> = []
        for round in 0..<5 {
            let stood = log.head(of: log.origin)
            for operation in try log.write("lost \(round)").operations { #expect(given.insert(operation.dot).inserted) }
            log.retreat(to: [stood])
            log.abandonEpoch()
            for operation in try log.write("kept \(round)").operations { #expect(given.insert(operation.dot).inserted) }
        }
    }

    @Test("What the disk refused is taken back from peers that have it")
    func refusedComesBack() throws {
        var log = Fixture.log(1)
        let kept = try log.write("kept")
        let stood = log.head(of: log.origin)
        let lost = try log.write("lost")
        var peer = Fixture.log(2)
        _ = peer.take([kept, lost])
        log.retreat(to: [stood])
        log.abandonEpoch()
        #expect(log.take([lost]).applied == lost.operations)
        #expect(log.head(of: Fixture.origin(1)) == peer.head(of: Fixture.origin(1)))
        #expect(log.origin == Fixture.origin(1, epoch: 2))
    }

    @Test("A new epoch is above every one of this host that is known, also when a peer told of it")
    func epochsAbovePeers() throws {
        var later = Fixture.log(1, epoch: 2)
        var log = Fixture.log(1)
        _ = log.take([try later.write("x")])
        log.abandonEpoch()
        #expect(log.origin.epoch > 2)
    }

    @Test("A peer that holds more of this host's epoch than the host itself ends the epoch (restored backup)")
    func restoredBackup() throws {
        var original = Fixture.log(1)
        var batches = [try original.write("0")]
        var restored = OperationLog(
            Fixture.recovered(1, heads: [original.head(of: original.origin)]), seals: Fixture.seals(1))
        for text in ["1", "2"] { batches.append(try original.write(text)) }
        let isFirstEnded = restored.heard(original.applied)
        let isSecondEnded = restored.heard(original.applied)
        #expect(isFirstEnded && !isSecondEnded)
        let written = try restored.write("new")
        #expect(written.operations.allSatisfy { !original.applied.contains($0.dot) })
        #expect(restored.take(batches).applied.last == batches.last?.operations.last)
    }

    @Test("Numbers at the end of their range neither trap nor wrap")
    func extremes() throws {
        var log = Fixture.log(1)
        let far = [
            Fixture.operation(Dot(origin: Fixture.origin(2), sequence: .max), at: .max),
            Fixture.operation(Dot(origin: Fixture.origin(1, epoch: .max), sequence: .max)),
            Fixture.operation(Dot(origin: Fixture.origin(3), sequence: 0)),
        ]
        #expect(log.take(far.map { Fixture.batch([$0]) }).applied.isEmpty)
        var theirs = VersionVector()
        theirs[Fixture.origin(1, epoch: .max)] = .max
        _ = log.heard(theirs)
        log.abandonEpoch()
        #expect(log.origin.epoch >= 1)
        #expect(try log.proposed([Fixture.draft()], milliseconds: .max).advance.operations.count == 1)
    }
}
