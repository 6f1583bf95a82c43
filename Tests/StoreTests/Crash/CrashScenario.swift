import Core
import Cryptography
import Glibc
import Testing

@testable import Store

/// Something that a host does with its files, during which the disk fails or the power goes.
struct CrashScenario: Sendable, CustomTestStringConvertible {
    var name: String
    var isMarked = true
    /// Makes what is there before.
    var prepare: @Sendable (CrashHome) async throws -> CrashLedger = { home in try await filled(home, turns: 8) }
    /// Ends early where something is refused.
    var act: @Sendable (CrashHome, inout CrashLedger) async throws -> Void
    /// What else must be as it was promised; the first thing that is not.
    var examine: @Sendable (CrashHome, CrashLedger) async throws -> String? = { _, _ in nil }

    var testDescription: String { name }

    /// A store that was closed well.
    static func filled(_ home: CrashHome, turns: Int, isFound: Bool = true) async throws -> CrashLedger {
        let store = try await home.open()
        var ledger = CrashLedger()
        try await ledger.turns(turns, of: home, to: store, isFound: isFound)
        await store.close()
        return ledger
    }

    static let all: [CrashScenario] = [
        firstStart, append, restart, merge, dataKey, swarmKey, deletion, compaction, backup, restore, upgrade, snapshot,
        repair, recovery,
    ]

    static let firstStart = CrashScenario(
        name: "first start", prepare: { _ in CrashLedger() },
        act: { home, ledger in
            _ = try home.swarm()
            let store = try await home.open()
            try await ledger.turns(2, of: home, to: store)
            await store.close()
        })

    static let append = CrashScenario(
        name: "append",
        act: { home, ledger in
            let store = try await home.open()
            try await ledger.turns(3, of: home, to: store)
            // The log is moved into the database with the commits.
            try await store.threads.write { writer in writer.longLog = 10 }
            try await ledger.turns(3, of: home, to: store, length: 9_000)
            await store.close()
        })

    /// Goes on in its epoch where it may.
    static let restart = CrashScenario(
        name: "stop and start", isMarked: false,
        act: { home, ledger in
            for _ in 0..<2 {
                let store = try await home.open()
                try await ledger.turns(2, of: home, to: store)
                await store.close()
                // What was refused may be there: the next life would go on from it.
                guard ledger.doubtful.isEmpty else { return }
            }
        })

    static let merge = CrashScenario(
        name: "merge",
        act: { home, ledger in
            let store = try await home.open()
            _ = try await store.recover()
            for number in 0..<5 as Range<UInt64> {
                let origin = Origin(node: NodeID(Bytes16(high: 60, low: number % 2)), epoch: 1)
                await ledger.commit(to: store) { model in
                    var batch = Commit(durability: number == 3 ? .synced : .relaxed)
                    for _ in 0..<3 {
                        let turn = model.turn(origin, stream: Fixture.stream(number % 3), text: "from a peer")
                        model.apply(turn)
                        batch.operations += turn.operations
                        batch.heads = turn.heads
                        batch.conversations = turn.conversations
                    }
                    batch.seals = [SealTests.seal(origin, batch.heads[0].sequence)]
                    return batch
                }
            }
            try await ledger.turns(1, of: home, to: store)
            await store.close()
        })

    static let dataKey = CrashScenario(
        name: "data key",
        act: { home, ledger in
            let store = try await home.open()
            try await ledger.turns(1, of: home, to: store)
            _ = try await store.rotateKey()
            try await ledger.turns(1, of: home, to: store)
            try await store.threads.write { writer throws(RuntimeError) in
                for _ in 0..<20 where writer.rewriting != nil { writer.rewriteSome() }
                _ = writer.rest()
            }
            try await ledger.turns(1, of: home, to: store)
            await store.close()
        },
        examine: { home, _ in
            let store = try await home.open()
            let status = try await DataKeyTests.settled(store)
            await store.close()
            return status.keys == 1 ? nil : "a change of the data key never ends"
        })

    static let swarmKey = CrashScenario(
        name: "swarm key",
        prepare: { home in
            var ledger = try await filled(home, turns: 2)
            try home.swarm().save([1])
            ledger.rings = [[1]]
            return ledger
        },
        act: { home, ledger in
            let ring = try home.swarm()
            for number in 2...4 as ClosedRange<UInt8> {
                ledger.rings.append([number])
                do {
                    try ring.save([number]) { _, ring throws(RuntimeError) in ring }
                    ledger.rings = [[number]]
                } catch {}
            }
        },
        examine: { home, ledger in
            guard let found = try home.swarm().load() else { return "the swarm's keys are lost" }
            return ledger.rings.contains(found) ? nil : "the swarm's keys are those of an earlier rotation"
        })

    static let deletion = CrashScenario(
        name: "deletion",
        act: { home, ledger in
            let store = try await home.open()
            _ = try await store.recover()
            await ledger.commit(to: store) { $0.deletion(of: Fixture.stream(1)) }
            try await ledger.turns(2, of: home, to: store)
            await ledger.commit(to: store) { $0.deletion(of: Fixture.stream(0)) }
            await store.close()
        })

    static let compaction = CrashScenario(
        name: "compaction", prepare: { home in try await filled(home, turns: 24) },
        act: { home, ledger in
            let store = try await home.open()
            try await ledger.turns(3, of: home, to: store, length: 9_000)
            _ = try await store.threads.write { writer in writer.rest() }
            await ledger.commit(to: store) { $0.deletion(of: Fixture.stream(2)) }
            _ = try await store.threads.write { writer in writer.rest() }
            try await ledger.turns(1, of: home, to: store)
            await store.close()
        })
}
