import Core
import Glibc
import Synchronization
import Testing

@testable import Store

/// When a commit returns, and what the disk has by then.
@Suite struct DurabilityTests {
    /// A disk whose flushes are counted, and wait where the test says so.
    final class Disk: Sendable {
        private let state = Mutex((flushes: 0, isHeld: false, isFailing: false))

        var flushes: Int { state.withLock { $0.flushes } }
        func hold(_ isHeld: Bool) { state.withLock { $0.isHeld = isHeld } }
        func fail(_ isFailing: Bool) { state.withLock { $0.isFailing = isFailing } }

        func flush() -> Int32 {
            while state.withLock({ $0.isHeld }) { sched_yield() }
            return state.withLock { state in
                state.flushes += 1
                return state.isFailing ? -1 : 0
            }
        }

        var environment: StoreEnvironment {
            var environment = Fixture.environment
            environment.flush = { _ in self.flush() }
            return environment
        }
    }

    static func turn(_ model: inout LogModel, _ origin: Origin, _ durability: Commit.Durability) -> Commit {
        var commit = model.turn(origin, stream: Fixture.stream(1), text: "x")
        commit.durability = durability
        model.apply(commit)
        return commit
    }

    @Test("A relaxed commit is readable while the disk still works on a synced one, and neither waits for the other")
    func relaxedPassesBy() async throws {
        let sandbox = Sandbox()
        let disk = Disk()
        let store = try await SQLiteContextStore.opened(sandbox, environment: disk.environment)
        let own = try await store.recover().origin
        let peer = Origin(node: Fixture.peer, epoch: 1)
        var model = LogModel()
        let before = disk.flushes
        disk.hold(true)
        let first = Self.turn(&model, own, .synced)
        async let synced: Void = store.commit(first)
        // It is visible before it is safe.
        while try await store.operations(of: Fixture.stream(1)).isEmpty { await Task.yield() }
        for number in 1...20 {
            try await store.commit(Self.turn(&model, peer, .relaxed))
            #expect(try await store.operations(of: Fixture.stream(1)).count == 1 + number)
        }
        // The synced one cannot have returned: no flush has.
        #expect(disk.flushes == before)
        disk.hold(false)
        try await synced
        #expect(disk.flushes > before)
        await store.close()
    }

    @Test("A synced commit has been flushed once it returns; what was relaxed before it goes with it")
    func synced() async throws {
        let sandbox = Sandbox()
        let disk = Disk()
        let store = try await SQLiteContextStore.opened(sandbox, environment: disk.environment)
        let own = try await store.recover().origin
        var model = LogModel()
        for _ in 0..<5 {
            let before = disk.flushes
            try await store.commit(Self.turn(&model, own, .synced))
            #expect(disk.flushes > before)
        }
        await store.close()
    }

    @Test("A relaxed commit reaches the disk by itself before long")
    func lag() async throws {
        let sandbox = Sandbox()
        let disk = Disk()
        let store = try await SQLiteContextStore.opened(sandbox, environment: disk.environment)
        _ = try await store.recover()
        var model = LogModel()
        for _ in 0..<2 {
            let before = disk.flushes
            try await store.commit(Self.turn(&model, Origin(node: Fixture.peer, epoch: 1), .relaxed))
            let start = ContinuousClock.now
            while disk.flushes == before, ContinuousClock.now - start < .seconds(20) { await Task.yield() }
            #expect(disk.flushes > before)
        }
        await store.close()
    }

    @Test(
        "A disk that fails to keep something is trusted no more: everyone is told, reading goes on, and the epoch ends")
    func failingDisk() async throws {
        let sandbox = Sandbox()
        let disk = Disk()
        let store = try await SQLiteContextStore.opened(sandbox, environment: disk.environment)
        let own = try await store.recover().origin
        var model = LogModel()
        try await store.commit(Self.turn(&model, own, .synced))
        let kept = model
        disk.fail(true)
        let error = await #expect(throws: RuntimeError.self) {
            try await store.commit(Self.turn(&model, own, .synced))
        }
        #expect(error?.code == .system)
        // A flush that says yes afterwards proves nothing.
        disk.fail(false)
        for durability in [Commit.Durability.synced, .relaxed] {
            await #expect(throws: RuntimeError.self) { try await store.commit(Self.turn(&model, own, durability)) }
        }
        let readable = try await store.operations(of: Fixture.stream(1))
        #expect(readable.prefix(1).elementsEqual(kept.operations(of: Fixture.stream(1))))
        await store.close()
        let again = try await SQLiteContextStore.opened(sandbox)
        #expect(try await again.recover().origin.epoch > own.epoch)
        await again.close()
    }

    @Test("A host that was about to number something has told its disk so before")
    func noticeOfStart() async throws {
        let sandbox = Sandbox()
        let disk = Disk()
        let store = try await SQLiteContextStore.opened(sandbox, environment: disk.environment)
        #expect(disk.flushes == 0)
        _ = try await store.recover()
        #expect(disk.flushes == 1)
        await store.close()
    }
}
