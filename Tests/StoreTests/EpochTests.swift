import Core
import Cryptography
import Glibc
import Testing

@testable import Store

/// When a host begins a new writing stream (swarm.md §1): always where it may have numbered operations before that its
/// store does not hold.
@Suite struct EpochTests {
    /// A host: its store, and the folder of its signing key.
    struct Host {
        var sandbox = Sandbox()
        var identity = Sandbox()
        /// What the machine keeps in memory while it runs.
        var uptime = Sandbox()
        /// The clock's seconds: what a new epoch is called.
        var seconds = Fixture.environment.seconds

        /// All that is on its disk, and so in a copy of it.
        var disk: (store: [UInt8], mark: [UInt8]) {
            (Sandbox.read(sandbox.path), Sandbox.read(identity.folder + "/" + EpochMark.fileName))
        }

        func putBack(_ disk: (store: [UInt8], mark: [UInt8])) {
            Sandbox.write(disk.store, to: sandbox.path)
            Sandbox.write(disk.mark, to: identity.folder + "/" + EpochMark.fileName)
        }

        var environment: StoreEnvironment {
            var environment = Fixture.environment
            environment.identityFolder = identity.folder
            environment.volatileFolder = uptime.folder
            environment.seconds = seconds
            return environment
        }

        /// Opens the store, writes turns where asked, and leaves it by closing or by a crash.
        mutating func start(
            node: NodeID = Fixture.node, writing turns: Int = 1, crashing: Bool = false
        ) async throws -> Origin {
            let store = try await SQLiteContextStore.opened(sandbox, node: node, environment: environment)
            let recovered = try await store.recover()
            var model = LogModel()
            for head in recovered.heads { model.apply(Commit(heads: [head])) }
            for _ in 0..<turns {
                let commit = model.turn(recovered.origin, stream: Fixture.stream(1), text: "x")
                model.apply(commit)
                try await store.commit(commit)
            }
            let left = crashing ? sandbox.crashed() : sandbox
            await store.close()
            sandbox = left
            return recovered.origin
        }
    }

    private static let clock = UInt32(Fixture.environment.seconds)

    @Test("A new store begins with epoch 1, and a clean stop keeps it")
    func clean() async throws {
        var host = Host()
        #expect(try await host.start() == Origin(node: Fixture.node, epoch: 1))
        #expect(try await host.start().epoch == 1)
        #expect(try await host.start(writing: 0).epoch == 1)
    }

    @Test("Any stop without a goodbye begins a new one: peers had the batches before the disk", arguments: [0, 1])
    func unclean(turns: Int) async throws {
        var host = Host()
        #expect(try await host.start(writing: turns, crashing: true).epoch == 1)
        #expect(try await host.start(writing: turns, crashing: true).epoch == Self.clock)
        #expect(try await host.start(writing: turns).epoch == Self.clock + 1)
        #expect(try await host.start(writing: turns).epoch == Self.clock + 1)
    }

    @Test("A store that another host wrote to begins a new epoch on either's return")
    func otherNode() async throws {
        var host = Host()
        host.identity = Sandbox()
        _ = try await host.start()
        let own = host.identity
        host.identity = Sandbox()
        #expect(try await host.start(node: Fixture.peer) == Origin(node: Fixture.peer, epoch: 1))
        let others = host.identity
        host.identity = own
        #expect(try await host.start() == Origin(node: Fixture.node, epoch: Self.clock))
        host.identity = others
        #expect(try await host.start(node: Fixture.peer).epoch == Self.clock)
    }

    @Test("A store made anew for a host that had one goes on above")
    func deletedStore() async throws {
        var host = Host()
        _ = try await host.start(crashing: true)
        #expect(try await host.start(crashing: true).epoch == Self.clock)
        host.sandbox = Sandbox()
        #expect(try await host.start().epoch == Self.clock + 1)
    }

    @Test("An older copy put back in its place, byte for byte, begins a new epoch", arguments: [0, 1, 3])
    func restoredBackup(runsSince: Int) async throws {
        var host = Host()
        _ = try await host.start()
        let backup = Sandbox.read(host.sandbox.path)
        for _ in 0..<runsSince { #expect(try await host.start(writing: 2).epoch == 1) }
        let number = EpochMark.number(ofFile: host.sandbox.path)
        Sandbox.write(backup, to: host.sandbox.path)
        #expect(EpochMark.number(ofFile: host.sandbox.path) == number)
        #expect(try await host.start().epoch == (runsSince == 0 ? 1 : Self.clock))
    }

    @Test("The same bytes in another file are another copy, of which there may be two")
    func copiedFile() async throws {
        var host = Host()
        _ = try await host.start()
        let copy = Sandbox()
        Sandbox.write(Sandbox.read(host.sandbox.path), to: copy.path)
        host.sandbox = copy
        #expect(try await host.start().epoch == Self.clock)
    }

    @Test(
        "A whole disk put back, the mark with it, begins an epoch that it has not used since the copy",
        arguments: [true, false])
    func restoredDisk(isRebooted: Bool) async throws {
        var host = Host()
        #expect(try await host.start().epoch == 1)
        let copy = host.disk
        #expect(try await host.start(writing: 2).epoch == 1)
        // Since the copy it has also crashed, and gone on in epochs of which the copy knows nothing.
        var used: Set<UInt32> = [1]
        for _ in 0..<3 { used.insert(try await host.start(crashing: true).epoch) }
        host.putBack(copy)
        if isRebooted { host.uptime = Sandbox() }
        host.seconds += 60
        let epoch = try await host.start().epoch
        #expect(!used.contains(epoch))
        #expect(try await host.start().epoch == epoch)
    }

    @Test("After the machine was off nothing proves that its disk is the one that it wrote last")
    func rebooted() async throws {
        var host = Host()
        #expect(try await host.start().epoch == 1)
        host.uptime = Sandbox()
        #expect(try await host.start().epoch == Self.clock)
        #expect(try await host.start().epoch == Self.clock)
    }

    @Test("A clock that is set wrong uses up no epochs", arguments: [0, UInt64(UInt32.max) + 1])
    func wrongClock(seconds: UInt64) async throws {
        var host = Host()
        host.seconds = seconds
        #expect(try await host.start(crashing: true).epoch == 1)
        let second = try await host.start(crashing: true).epoch
        #expect(second > 1 && second < UInt32.max - 1_000_000)
        #expect(try await host.start().epoch == second + 1)
    }

    @Test("A mark in a folder that others may write to proves nothing")
    func foreignFolder() async throws {
        var host = Host()
        #expect(try await host.start().epoch == 1)
        chmod(host.uptime.folder, 0o777)
        #expect(try await host.start().epoch == Self.clock)
    }

    @Test("A mark that is lost or unreadable agrees with no store", arguments: [true, false])
    func lostMark(isLost: Bool) async throws {
        var host = Host()
        _ = try await host.start()
        if isLost {
            host.identity = Sandbox()
        } else {
            Sandbox.write([1, 2, 3], to: host.identity.folder + "/" + EpochMark.fileName)
        }
        #expect(try await host.start().epoch == Self.clock)
        #expect(try await host.start().epoch == Self.clock)
    }

    @Test("After a refused commit of its own the epoch ends with the run: peers may hold what the disk refused")
    func refusedCommit() async throws {
        let host = Host()
        let store = try await SQLiteContextStore.opened(host.sandbox, environment: host.environment)
        let origin = try await store.recover().origin
        var model = LogModel()
        var bad = model.turn(origin, stream: Fixture.stream(1), text: "x")
        bad.heads = []
        await #expect(throws: RuntimeError.self) { try await store.commit(bad) }
        await store.close()
        let again = try await SQLiteContextStore.opened(host.sandbox, environment: host.environment)
        #expect(try await again.recover().origin.epoch > 2, "the log has gone on in epoch 2")
        await again.close()
    }

    @Test("Epochs that began and ended while the disk refused everything are not used again", arguments: [1, 4])
    func refusedEpochs(refusals: UInt32) async throws {
        var host = Host()
        let store = try await SQLiteContextStore.opened(host.sandbox, environment: host.environment)
        let first = try await store.recover().origin
        for epoch in first.epoch..<first.epoch + refusals {
            var model = LogModel()
            var bad = model.turn(
                Origin(node: first.node, epoch: epoch), stream: Fixture.stream(1), text: "x")
            bad.heads = []
            await #expect(throws: RuntimeError.self) { try await store.commit(bad) }
        }
        let left = host.sandbox.crashed()
        await store.close()
        host.sandbox = left
        #expect(try await host.start().epoch > first.epoch + refusals)
    }

    @Test("An epoch that the log began by itself is the one that goes on")
    func abandoned() async throws {
        var host = Host()
        let store = try await SQLiteContextStore.opened(host.sandbox, environment: host.environment)
        let origin = try await store.recover().origin
        var model = LogModel()
        let next = Origin(node: origin.node, epoch: origin.epoch + 1)
        try await store.commit(model.turn(next, stream: Fixture.stream(1), text: "x"))
        await store.close()
        #expect(try await host.start(writing: 0) == next)
    }

    @Test("Asking again gives the same origin, and what was written since")
    func again() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let first = try await store.recover()
        var model = LogModel()
        let commit = model.turn(first.origin, stream: Fixture.stream(1), text: "x")
        try await store.commit(commit)
        let second = try await store.recover()
        #expect(second.origin == first.origin && second.heads == commit.heads)
        await store.close()
    }

    @Test("A store in memory takes its epoch from the clock, since no other start can know it")
    func memory() async throws {
        for seconds in [1_800_000_000, 1_800_000_001] as [UInt64] {
            let environment = StoreEnvironment(seconds: seconds)
            let store = try await SQLiteContextStore.open(
                .memory, key: Fixture.key, node: Fixture.node, hostname: "host", environment: environment)
            #expect(try await store.recover().origin.epoch == UInt32(seconds))
            await store.close()
        }
    }

    @Test("A peer's clock that is days ahead does not become ours at the next start; our own never goes back")
    func farAhead() async throws {
        let wall = Fixture.environment.seconds * 1_000
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let own = try await store.recover().origin
        let peer = Origin(node: Fixture.peer, epoch: 1)
        let other = Origin(node: NodeID(Bytes16(high: 8, low: 8)), epoch: 1)
        func write(_ origin: Origin, _ milliseconds: UInt64) async throws {
            var operation = Operation(
                dot: Dot(origin: origin, sequence: 1), kind: .userTurn,
                timestamp: HybridTimestamp(milliseconds: milliseconds), stream: Fixture.stream(1), body: [1])
            operation.dependencies = []
            try await store.commit(
                Commit(
                    operations: [operation], heads: [LogHead(origin: origin, sequence: 1, chain: .empty)]))
        }
        try await write(peer, wall + 86_400_000)
        try await write(other, wall + 30_000)
        #expect(try await store.recover().latestTimestamp == HybridTimestamp(milliseconds: wall + 30_000))
        try await write(own, wall + 3_600_000)
        #expect(try await store.recover().latestTimestamp == HybridTimestamp(milliseconds: wall + 3_600_000))
        await store.close()
    }
}
