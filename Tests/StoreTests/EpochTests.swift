import Core
import Testing

@testable import Store

@Suite struct EpochTests {
    static let otherBoot = StoreEnvironment(
        bootID: Array("boot-2".utf8), seconds: 1_800_000_100, idle: .seconds(100_000))

    /// Opens the store, writes one turn where asked, and leaves it by closing or by a crash.
    static func start(
        _ sandbox: Sandbox, node: NodeID = Fixture.node, environment: StoreEnvironment = Fixture.environment,
        writing: Bool = true, crashing: Bool = false
    ) async throws -> (origin: Origin, sandbox: Sandbox) {
        let store = try await SQLiteContextStore.opened(sandbox, node: node, environment: environment)
        let recovered = try await store.recover()
        if writing {
            var model = LogModel()
            for head in recovered.heads { model.apply(Commit(heads: [head])) }
            try await store.commit(model.turn(recovered.origin, stream: Fixture.stream(1), text: "x"))
        }
        let left = crashing ? sandbox.crashed() : sandbox
        await store.close()
        return (recovered.origin, left)
    }

    @Test("A new store begins with epoch 1, and a clean stop keeps it, whatever the boot")
    func clean() async throws {
        let sandbox = Sandbox()
        #expect(try await Self.start(sandbox).origin == Origin(node: Fixture.node, epoch: 1))
        #expect(try await Self.start(sandbox).origin.epoch == 1)
        #expect(try await Self.start(sandbox, environment: Self.otherBoot).origin.epoch == 1)
    }

    @Test(
        "A killed process goes on with its epoch; after a power cut a new one begins, and stays",
        arguments: [true, false])
    func unclean(writing: Bool) async throws {
        let killed = try await Self.start(Sandbox(), writing: writing, crashing: true).sandbox
        let again = try await Self.start(killed, writing: writing, crashing: true)
        #expect(again.origin.epoch == 1)
        let afterPowerCut = try await Self.start(
            again.sandbox, environment: Self.otherBoot, writing: writing, crashing: true)
        #expect(afterPowerCut.origin.epoch == 2)
        let later = try await Self.start(afterPowerCut.sandbox, environment: Self.otherBoot)
        #expect(later.origin.epoch == 2)
    }

    @Test("A store that another host wrote to begins a new epoch on either's return")
    func otherNode() async throws {
        let sandbox = Sandbox()
        _ = try await Self.start(sandbox)
        let peer = try await Self.start(sandbox, node: Fixture.peer)
        #expect(peer.origin == Origin(node: Fixture.peer, epoch: 1))
        #expect(try await Self.start(sandbox).origin == Origin(node: Fixture.node, epoch: 2))
        #expect(try await Self.start(sandbox, node: Fixture.peer).origin.epoch == 2)
    }

    @Test("An epoch that the log began by itself is the one that goes on")
    func abandoned() async throws {
        let sandbox = Sandbox()
        let store = try await SQLiteContextStore.opened(sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        let next = Origin(node: origin.node, epoch: origin.epoch + 1)
        try await store.commit(model.turn(next, stream: Fixture.stream(1), text: "x"))
        await store.close()
        #expect(try await Self.start(sandbox, writing: false).origin == next)
    }

    @Test("Asking again gives the same origin, and what was written since")
    func again() async throws {
        let store = try await SQLiteContextStore.opened(Sandbox())
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
            let environment = StoreEnvironment(bootID: [], seconds: seconds)
            let store = try await SQLiteContextStore.open(
                .memory, key: Fixture.key, node: Fixture.node, hostname: "host", environment: environment)
            #expect(try await store.recover().origin.epoch == UInt32(seconds))
            await store.close()
        }
    }
}
