import Core
import Swarm
import Testing

@Suite struct ReplicationTests {
    private static let origin = ReplicationWorld.origin(0)
    private static func node(_ host: Int) -> NodeID { ReplicationWorld.node(host) }

    @Test("What is written goes to every peer before the disk has it, once, and each says when it has it")
    func push() throws {
        var world = ReplicationWorld(4)
        world.linkAll()
        let before = world.machines.map(\.tally.received)
        world.disks[0].isHeld = true
        try world.write(0, "a")
        #expect(world.order.prefix(4) == ["send", "send", "send", "commit"])
        #expect(world.vector(0).isEmpty)
        for host in 1..<4 {
            #expect(world.vector(host)[Self.origin] == 1)
            #expect(world.machines[host].tally.received - before[host] == 1)
        }
        #expect(
            world.notices[0].sorted { "\($0)" < "\($1)" }
                == (1..<4).map { .acknowledged(Self.origin, upTo: 1, by: Self.node($0)) })
        world.releaseDisk(0)
        #expect(world.isEqual())
        let dot = Dot(origin: Self.origin, sequence: 1)
        #expect(world.machines[0].holders(of: dot) == (1..<4).map(Self.node))
    }

    @Test("What is written while the disk is busy goes together into the next write")
    func groups() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.disks[0].isHeld = true
        for index in 0..<10 { try world.write(0, "\(index)") }
        #expect(world.disks[0].held.count == 1)
        #expect(world.vector(1)[Self.origin] == 10)
        world.releaseDisk(0)
        #expect(world.disks[0].operations[Self.origin]?.count == 10)
        #expect(world.isEqual())
    }

    @Test("A host whose disk is nearly full takes nothing of others, and all of it once there is room")
    func pausing() throws {
        var world = ReplicationWorld(3)
        world.linkAll()
        try world.write(0, "before")
        world.step(.pausing(true), 2)
        world.settle()
        for index in 0..<50 { try world.write(index % 2, "\(index)") }
        world.wait(.seconds(10))
        #expect(world.vector(1) == world.vector(0))
        #expect(world.vector(2)[Self.origin] == 1)
        // What it begins itself goes out all the same.
        try world.write(2, "own")
        #expect(world.vector(0)[ReplicationWorld.origin(2)] == 1)
        world.step(.pausing(false), 2)
        world.settle()
        world.wait(.milliseconds(500))
        #expect(world.isEqual())
    }

    @Test("A host that comes later is told what there is and asks for it")
    func late() throws {
        var world = ReplicationWorld(3)
        for index in 0..<700 { try world.write(0, "\(index)") }
        world.link(0, 1)
        world.wait(.milliseconds(100))
        #expect(world.vector(1)[Self.origin] == 700)
        // Also from one that did not write it.
        world.link(1, 2)
        world.wait(.milliseconds(100))
        #expect(world.isEqual())
        #expect(world.snapshotsWanted.isEmpty)
    }

    @Test("What is on no disk yet reaches a fresh link too")
    func unsettled() throws {
        var world = ReplicationWorld(2)
        world.disks[0].isHeld = true
        try world.write(0, "a")
        world.link(0, 1)
        #expect(world.vector(1)[Self.origin] == 1)
    }

    @Test("Who is far behind fetches a snapshot, and goes on with operations if that fails", arguments: [true, false])
    func farBehind(isWhole: Bool) throws {
        var world = ReplicationWorld(2)
        let count = Replication.snapshotDistance + 50
        var batches: [OperationBatch] = []
        for index in 0..<count { try world.write(0, "\(index)") }
        world.link(0, 1)
        #expect(world.snapshotsWanted.map(\.host) == [1])
        #expect(world.snapshotsWanted.map(\.from) == [Self.node(0)])
        world.wait(.seconds(1))
        #expect(world.vector(1).isEmpty)
        #expect(world.machines[1].isFetching)
        if isWhole {
            var after: UInt64 = 0
            while let batch = world.disks[0].batch(
                Replication.Read(peer: Self.node(1), origin: Self.origin, after: after))
            {
                batches.append(batch)
                after = batch.seal.sequence
            }
            world.step(.snapshot(batches, from: Self.node(0)), 1)
        }
        world.step(.snapshotEnded(from: Self.node(0), isWhole: isWhole), 1)
        world.settle()
        world.wait(.milliseconds(200))
        #expect(world.isEqual())
        #expect(world.machines[1].tally.pulls > 0 || isWhole)
    }

    @Test("Hosts that can only talk through a third one hear of each other's turns at once")
    func bridge() throws {
        var world = ReplicationWorld(3)
        world.link(0, 2)
        world.link(1, 2)
        world.wait(.milliseconds(300))
        try world.write(0, "a")
        #expect(world.vector(1)[Self.origin] == 1)
        try world.write(1, "b", after: [Dot(origin: Self.origin, sequence: 1)])
        #expect(world.isEqual())
        #expect(world.machines[1].tally.received == 1)
    }

    @Test("Of several hosts between two others one passes on")
    func severalBridges() throws {
        var world = ReplicationWorld(5)
        for left in 0..<5 {
            for right in 0..<5 where left < right && (left, right) != (0, 1) { world.link(left, right) }
        }
        world.wait(.milliseconds(300))
        for index in 0..<20 { try world.write(0, "\(index)") }
        #expect(world.isEqual())
        #expect(world.machines.map(\.tally.received) == [0, 20, 20, 20, 20])
    }

    @Test("In a row of hosts a turn reaches the end")
    func row() throws {
        var world = ReplicationWorld(6)
        for host in 0..<5 { world.link(host, host + 1) }
        world.wait(.milliseconds(300))
        try world.write(0, "a")
        #expect(world.isEqual())
    }

    @Test("Through the tree: nothing is pushed, what comes is not sent back, and the author hears of every store")
    func tree() throws {
        var world = ReplicationWorld(4)
        for host in 0..<3 { world.link(host, host + 1) }
        for host in 0..<4 { world.step(.spreading(throughTree: true), host) }
        try world.write(0, "one")
        #expect(world.broadcasts[0].count == 1)
        #expect(world.vector(1).entries.isEmpty)
        let batch = try #require(world.broadcasts[0].first)
        for host in 1..<4 {
            world.step(.broadcast(batch, from: ReplicationWorld.node(host - 1)), host)
            world.settle()
            #expect(world.vector(host)[ReplicationWorld.origin(0)] == 1)
        }
        #expect(world.broadcasts.map(\.count) == [1, 0, 0, 0])
        world.wait(.milliseconds(100))
        let holders = Set(
            world.notices[0].compactMap { notice -> NodeID? in
                if case .acknowledged(_, 1, let holder) = notice { holder } else { nil }
            })
        #expect(holders == Set((1..<4).map { ReplicationWorld.node($0) }))
        let dot = Dot(origin: ReplicationWorld.origin(0), sequence: 1)
        #expect(world.machines[0].holders(of: dot) == (1..<4).map { ReplicationWorld.node($0) })
    }

    @Test("In a row without a tree's help what one host fetches the next hears of at once")
    func catchingUp() throws {
        var world = ReplicationWorld(4)
        for host in 0..<4 { world.step(.spreading(throughTree: true), host) }
        try world.write(0, "one")
        for host in 0..<3 { world.link(host, host + 1) }
        world.wait(.milliseconds(600))
        #expect(world.isEqual())
    }

    @Test("What was lost without a trace is found within two keepalives")
    func digests() throws {
        var world = ReplicationWorld(3)
        world.linkAll()
        world.wait(.seconds(2))
        // A queue that never drains, as the machine sees it: it sends this peer nothing.
        world.queues[0] = [Self.node(1): Limits.linkQueueBytes]
        world.stalled = [[2, 1]]
        try world.write(0, "a")
        #expect(world.vector(1).isEmpty)
        world.queues[0] = [:]
        world.stalled = []
        world.wait(.seconds(3))
        #expect(world.isEqual())
    }

    @Test("A slow peer is sent nothing more, and asks for what it lacks once it has drained")
    func slowPeer() throws {
        var world = ReplicationWorld(3)
        world.linkAll()
        world.queues[0] = [Self.node(1): 1024 * 1024]
        let text = String(repeating: "x", count: 64 * 1024)
        for _ in 0..<100 { try world.write(0, text) }
        #expect(world.vector(2)[Self.origin] == 100)
        #expect(world.vector(1)[Self.origin] == 0)
        #expect(world.machines[0].lags.map(\.isDemoted) == [true, false])
        world.queues[0] = [:]
        world.wait(.milliseconds(200))
        #expect(world.isEqual())
        #expect(world.machines[0].lags.map(\.isDemoted) == [false, false])
    }

    @Test("While a queue is busy batches grow; they leave as soon as it is not")
    func growing() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.queues[0] = [Self.node(1): 1024 * 1024]
        for index in 0..<50 { try world.write(0, "\(index)") }
        #expect(world.vector(1)[Self.origin] == 0)
        world.queues[0] = [:]
        let bytes = world.bytesSent
        world.wait(Replication.Timing.tick)
        #expect(world.vector(1)[Self.origin] == 50)
        #expect(world.bytesSent - bytes < 50 * 40)
    }

    @Test("What a peer does not answer is asked of another one")
    func askedElsewhere() throws {
        var world = ReplicationWorld(3)
        try world.write(0, "a")
        world.link(0, 1)
        world.wait(.milliseconds(100))
        world.link(0, 2)
        world.unlink(0, 2)
        // The author answers nothing any more, though its link stands.
        world.stalled = [[0, 2]]
        world.link(0, 2)
        world.link(1, 2)
        world.wait(.seconds(2))
        #expect(world.vector(2)[Self.origin] == 1)
    }

    @Test("Equal vectors with different content raise the alarm on both sides, with the origin's name")
    func divergence() throws {
        var world = ReplicationWorld(3)
        // Two copies of host 0 with one past wrote different things.
        var copy = world.machines[0]
        try world.write(0, "ours")
        let (_, effects) = try copy.propose([Fixture.draft("theirs")], now: world.now, wallClock: world.wall)
        world.link(0, 1)
        world.wait(.milliseconds(100))
        #expect(world.vector(1)[Self.origin] == 1)
        for effect in effects {
            guard case .commit(let write) = effect, let seal = write.seals.first else { continue }
            // Host 2 has the other one, from the copy.
            world.step(.snapshot([OperationBatch(operations: write.operations, seal: seal)], from: Self.node(0)), 2)
        }
        #expect(world.vector(2)[Self.origin] == 1)
        world.link(1, 2)
        world.wait(.seconds(1))
        for host in [1, 2] {
            #expect(world.machines[host].tally.divergences == 1)
            #expect(world.notices[host].contains { if case .diverged(_, Self.origin) = $0 { true } else { false } })
            #expect(world.notices[host].contains { if case .equivocated = $0 { true } else { false } })
            #expect(world.machines[host].log.frozen == [Self.origin])
        }
        // Both found it, at about the same time; each proof convinces those who saw nothing, at once and after a start.
        let proofs = [1, 2].flatMap { world.notices[$0] }.compactMap { notice -> EquivocationProof? in
            if case .proven(let proof) = notice { proof } else { nil }
        }
        #expect(!proofs.isEmpty)
        for proof in proofs {
            #expect(proof.origin == Self.origin && proof.before == 0)
            let draft = OperationLog.Draft(
                kind: .equivocation, stream: EquivocationProof.stream, body: proof.encoded)
            var witness = ReplicationWorld(2)
            witness.linkAll()
            let (_, effects) = try witness.machines[0].propose([draft], now: witness.now, wallClock: witness.wall)
            witness.perform(effects, 0)
            witness.settle()
            #expect(witness.machines[1].proofs[Self.origin] == proof)
            #expect(witness.machines[1].log.frozen == [Self.origin])
            #expect(witness.notices[1].contains(.convicted(Self.origin)))
            let kept = witness.disks[1].operations.values.joined().filter { $0.kind == .equivocation }
            let again = Replication(Fixture.recovered(9), seals: Fixture.seals(9), seed: 9, evidence: Array(kept))
            #expect(again.log.frozen == [Self.origin])
        }
    }

    @Test("A contradiction from before this host's start is proven: the store still has the chain")
    func contradictionOfOld() throws {
        var world = ReplicationWorld(3)
        try world.write(0, "past")
        world.link(0, 1)
        world.wait(.milliseconds(100))
        var copy = world.machines[0]
        try world.write(0, "ours")
        try world.write(0, "more")
        world.unlink(0, 1)
        // Host 2 hears of the copy only; both start again, and remember no more than where the streams end.
        let (_, effects) = try copy.propose([Fixture.draft("theirs")], now: world.now, wallClock: world.wall)
        for effect in effects {
            guard case .commit(let write) = effect, let seal = write.seals.first else { continue }
            let past = try #require(world.disks[0].operations[Self.origin]?.first)
            let batch = OperationBatch(operations: [past] + write.operations, seal: seal)
            world.step(.snapshot([batch], from: Self.node(0)), 2)
        }
        #expect(world.vector(1)[Self.origin] == 3 && world.vector(2)[Self.origin] == 2)
        for host in [1, 2] { world.restart(host) }
        world.link(1, 2)
        world.wait(.seconds(20))
        #expect([1, 2].contains { world.machines[$0].log.frozen == [Self.origin] })
        #expect(
            [1, 2].contains { host in
                world.notices[host].contains { if case .equivocated = $0 { true } else { false } }
            })
    }

    @Test("What nobody had for a while is asked for as soon as somebody tells of it")
    func heardOfAgain() throws {
        var world = ReplicationWorld(3)
        try world.write(0, "a")
        world.link(0, 1)
        world.wait(.milliseconds(100))
        // Host 2 is told of it by a host whose answers get lost, for so long that it asks ever more seldom.
        world.link(1, 2)
        world.unlink(1, 2)
        world.disks[2].refuses = true
        world.link(1, 2)
        world.wait(.seconds(15))
        world.disks[2].refuses = false
        world.unlink(1, 2)
        world.link(1, 2)
        world.wait(.milliseconds(200))
        #expect(world.vector(2)[Self.origin] == 1)
    }

    @Test("What follows an operation that nobody has any more is taken without it")
    func forsaken() throws {
        var world = ReplicationWorld(2)
        // The disk of host 0 refuses what a peer has, which is then set back; what followed is in the next epoch.
        world.disks[0].refuses = true
        let lost = try world.write(0, "lost")
        world.disks[0].refuses = false
        try world.write(0, "next", after: [try #require(lost.first).dot])
        #expect(world.vector(0)[ReplicationWorld.origin(0, epoch: 2)] == 1)
        world.link(0, 1)
        world.wait(.seconds(3))
        #expect(world.vector(1)[ReplicationWorld.origin(0, epoch: 2)] == 1)
        #expect(world.isEqual())
    }

    @Test(
        "What a copy of this host's disk wrote, and is gone with it, nobody waits for, the author least",
        arguments: [1, 7])
    func lostWithAClone(epoch: UInt32) throws {
        var world = ReplicationWorld(2)
        // The clone of host 0 wrote something; only what host 1 said to it is left.
        world.linkAll()
        let lost = Dot(origin: ReplicationWorld.origin(0, epoch: epoch), sequence: 3)
        try world.write(1, "after it", after: [lost])
        #expect(world.vector(0).isEmpty)
        world.wait(.seconds(6))
        #expect(world.isEqual() && world.vector(0)[ReplicationWorld.origin(1)] == 1)
        let footprint = world.machines[0].footprint.filter { $0.isPassing && $0.size > 0 }
        #expect(footprint.isEmpty, "\(footprint)")
        // Nothing is written again under a dot that the clone may have used.
        try world.write(0, "own")
        #expect(world.machines[0].log.origin.epoch > epoch)
    }

    @Test("What a peer has confirmed the author keeps, though its disk refused it and the peer loses it")
    func salvage() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.disks[0].refuses = true
        try world.write(0, "safe on two hosts")
        try world.write(0, "told nobody", settles: false)
        #expect(world.notices[0].contains(.acknowledged(Self.origin, upTo: 1, by: Self.node(1))))
        // The peer's power is cut before its disk has synced.
        world.unlink(0, 1)
        world.disks[1] = ReplicationWorld.Disk()
        world.restart(1)
        world.wait(.seconds(10))
        world.disks[0].refuses = false
        // A disk that stays full is asked ever more seldom.
        world.wait(.seconds(5))
        #expect(world.disks[0].operations[Self.origin]?.count == 1)
        #expect(world.machines[0].footprint.allSatisfy { !$0.isPassing || $0.size == 0 })
        world.link(0, 1)
        world.wait(.seconds(3))
        #expect(world.isEqual() && world.vector(1)[Self.origin] == 1)
    }

    @Test("What the disk refused of others' operations is not lost with whoever sent it")
    func salvageOfOthers() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.disks[1].refuses = true
        try world.write(0, "a", "b")
        world.unlink(0, 1)
        world.wait(.seconds(10))
        #expect(world.vector(1).isEmpty)
        world.disks[1].refuses = false
        world.wait(.seconds(2))
        #expect(world.vector(1)[Self.origin] == 2)
        #expect(world.machines[1].footprint.allSatisfy { !$0.isPassing || $0.size == 0 })
    }

    @Test("A peer whose store is ahead of what it knows has not diverged")
    func storeAhead() throws {
        var world = ReplicationWorld(2)
        let peer = Self.node(1)
        let empty = try #require(Bytes16(world.machines[1].digest))
        var encoder = ReplicationEncoder()
        func say(_ message: ReplicationMessage) {
            for bytes in encoder.encode(message) { world.step(.received(bytes, from: peer), 0) }
        }
        world.step(.linked(peer), 0)
        say(.vector([], isWhole: true, isQuestion: false, digest: empty))
        // Its disk has refused it, as far as it knows, and has it all the same: whoever asks is given it.
        let operation = Fixture.operation(Dot(origin: ReplicationWorld.origin(1), sequence: 1))
        say(.answer(Fixture.batch([operation])))
        #expect(world.vector(0)[ReplicationWorld.origin(1)] == 1)
        say(.vector([], isWhole: false, isQuestion: true, digest: empty))
        #expect(!world.notices[0].contains { if case .diverged = $0 { true } else { false } })
    }

    @Test("An author who was away is asked at once for what nobody else had")
    func returnedAuthor() throws {
        var world = ReplicationWorld(3)
        // Of an operation that is gone: only its author can tell that.
        let lost = Dot(origin: Self.origin, sequence: 1)
        try world.write(1, "after it", after: [lost])
        world.link(1, 2)
        world.wait(.seconds(20))
        #expect(world.vector(2).isEmpty)
        world.link(0, 2)
        world.wait(.milliseconds(200))
        #expect(world.vector(2)[ReplicationWorld.origin(1)] == 1)
    }

    @Test("A disk that takes something again is given at once what it refused")
    func salvageAtOnce() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.disks[1].refuses = true
        try world.write(0, "a")
        world.wait(.seconds(9))
        world.unlink(0, 1)
        world.disks[1].refuses = false
        try world.write(1, "own")
        world.wait(.milliseconds(100))
        #expect(world.vector(1)[Self.origin] == 1)
    }

    @Test("What waits behind an operation that nobody has any more is not kept for ever")
    func behindTheGap() throws {
        var world = ReplicationWorld(2)
        let operations = (1...3).map { Fixture.operation(Dot(origin: Self.origin, sequence: $0)) }
        // Host 0 was set back: nobody has its first two operations any more, and it writes a later epoch.
        world.restart(0)
        try world.write(0, "later")
        world.link(0, 1)
        let batch = Fixture.batch([operations[2]], over: Array(operations.prefix(2)))
        world.step(.snapshot([batch], from: Self.node(0)), 1)
        #expect(world.machines[1].log.parked.batches == 1)
        world.wait(.seconds(10))
        #expect(world.machines[1].log.parked.batches == 0)
        #expect(world.isEqual())
    }

    @Test("A tick before its time does nothing, and an idle link asks for one a second")
    func wake() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        try world.write(0, "a")
        world.wait(.seconds(3))
        var ticks = 0
        for _ in 0..<500 {
            world.now += Replication.Timing.tick
            if world.machines[0].wake <= world.now { ticks += 1 }
            world.step(.ticked, 0)
            world.settle()
        }
        #expect((6...30).contains(ticks), "\(ticks) ticks in ten seconds")
    }

    @Test("Without trouble there is no alarm, however much is on its way")
    func noFalseAlarm() throws {
        var world = ReplicationWorld(4)
        world.linkAll()
        for round in 0..<60 {
            let host = round % 4
            world.disks[(host + 1) % 4].isHeld = round.isMultiple(of: 3)
            try world.write(host, "\(round)")
            world.wait(.milliseconds(100))
            world.releaseDisk((host + 1) % 4)
        }
        world.wait(.seconds(3))
        #expect(world.isEqual())
        #expect(world.machines.allSatisfy { $0.tally.divergences == 0 && $0.tally.rejections == 0 })
    }

    @Test("When the disk refuses, this host goes on in a new epoch and takes back what a peer has")
    func ownRefused() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        try world.write(0, "kept")
        world.disks[0].refuses = true
        try world.write(0, "lost")
        #expect(world.notices[0].contains(.abandonedEpoch(Self.origin)))
        #expect(world.notices[0].contains(.acknowledged(Self.origin, upTo: 2, by: Self.node(1))))
        world.disks[0].refuses = false
        try world.write(0, "next")
        #expect(world.vector(1)[ReplicationWorld.origin(0, epoch: 2)] == 1)
        world.wait(.seconds(4))
        #expect(world.isEqual())
        #expect(world.vector(0)[Self.origin] == 2)
    }

    @Test("What the disk refused of others' operations is asked for again")
    func otherRefused() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.disks[1].refuses = true
        try world.write(0, "a", "b")
        #expect(world.machines[1].log.applied.isEmpty)
        world.disks[1].refuses = false
        world.wait(.seconds(4))
        #expect(world.isEqual())
    }

    @Test("A write that was refused and stands all the same is not asked for again")
    func refusedButWritten() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.disks[0].isHeld = true
        try world.write(0, "a")
        let write = try #require(world.disks[0].held.first)
        world.disks[0].put(write)
        world.disks[0].held = []
        world.step(.refused(write.number, heads: Array(world.disks[0].heads.values)), 0)
        world.disks[0].isHeld = false
        world.wait(.seconds(3))
        #expect(world.isEqual())
    }

    @Test("A peer whose message makes no sense is heard no more until it links anew")
    func malformed() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.step(.received([LinkChannel.replication.rawValue, 1, 77], from: Self.node(0)), 1)
        #expect(world.notices[1].contains { if case .malformed(Self.node(0), _) = $0 { true } else { false } })
        try world.write(0, "a")
        #expect(world.vector(1).isEmpty)
        world.unlink(0, 1)
        world.link(0, 1)
        world.wait(.milliseconds(100))
        #expect(world.isEqual())
    }

    @Test("A forged batch of a relay is thrown away, the relay is named, and the true one is had elsewhere")
    func forgingRelay() throws {
        var world = ReplicationWorld(3)
        let operation = try #require(try world.write(0, "true").first)
        world.link(0, 2)
        world.wait(.milliseconds(100))
        world.unlink(0, 2)
        var forged = operation
        forged.body = Fixture.body("false")
        let seal = try #require(world.disks[0].seals[Self.origin]?.first)
        var encoder = ReplicationEncoder()
        world.step(.linked(Self.node(0)), 1)
        for bytes in encoder.encode(.push([OperationBatch(operations: [forged], seal: seal)])) {
            world.step(.received(bytes, from: Self.node(0)), 1)
        }
        #expect(world.vector(1).isEmpty)
        #expect(world.notices[1].contains(.rejected(Self.origin, sequence: 1, by: Self.node(0))))
        world.step(.unlinked(Self.node(0)), 1)
        world.link(1, 2)
        world.wait(.milliseconds(200))
        #expect(world.disks[1].operations[Self.origin] == [operation])
    }

    @Test("How far peers are apart, and what all of them have")
    func reports() throws {
        var world = ReplicationWorld(3)
        world.linkAll()
        try world.write(0, "a", "b")
        world.wait(.seconds(2))
        #expect(world.machines[0].lags.map(\.ahead) == [0, 0])
        #expect(world.machines[1].stableCut(since: 0)[Self.origin] == 2)
        world.unlink(0, 2)
        world.unlink(1, 2)
        try world.write(0, "c")
        world.wait(.seconds(2))
        #expect(world.machines[1].stableCut(since: 0)[Self.origin] == 2)
        #expect(world.machines[1].stableCut(since: world.wall - 1_500)[Self.origin] == 3)
        #expect(world.machines[0].holders(of: Dot(origin: Self.origin, sequence: 3)) == [Self.node(1)])
    }

    @Test("An idle link carries less than 100 bytes a second, both ways and framing included")
    func idle() {
        var world = ReplicationWorld(2)
        world.linkAll()
        world.wait(.seconds(2))
        let bytes = world.bytesSent
        world.wait(.seconds(60))
        // 20 messages of 60 seconds each way at most; a WebSocket head, masked on one side, and a TLS record each.
        let messages = (world.bytesSent - bytes) / 18
        #expect(messages > 80)
        #expect((world.bytesSent - bytes + messages * (22 + 4)) / 60 < 100)
    }
}
