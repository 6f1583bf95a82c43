import Core
import Cryptography
import Glibc
import Synchronization

@testable import Store

/// Scenarios in which something else than commits is done to a store.
extension CrashScenario {
    private static let secret = BackupTests.swarm

    /// Writes a backup over the one that is there.
    private static func save(_ store: SQLiteContextStore, to path: String) async throws {
        let secret = try secret.get()
        let backup = try await store.makeBackup(sealedBy: secret, version: "", at: 1)
        let draft = try ArchiveDraft(path, replacing: true)
        while let piece = try await backup.next() { try draft.write(piece) }
        _ = try draft.publish { _ throws(RuntimeError) in secret }
    }

    static let backup = CrashScenario(
        name: "backup",
        prepare: { home in
            var ledger = try await filled(home, turns: 5)
            let store = try await home.open()
            try await save(store, to: home.archive)
            await store.close()
            ledger.rings = [[5]]
            return ledger
        },
        act: { home, ledger in
            let store = try await home.open()
            try await ledger.turns(2, of: home, to: store)
            let counts = ledger.candidates.map { [UInt8($0.operations.count)] }
            ledger.rings += counts
            try await save(store, to: home.archive)
            ledger.rings = counts
            try await ledger.turns(1, of: home, to: store)
            await store.close()
        },
        examine: { home, ledger in
            let secret = try secret.get()
            let found = try ArchiveFile(home.archive).verify { _ throws(RuntimeError) in secret }.counts.operations
            // Once it was said to be done it is the new one.
            return ledger.rings.contains([UInt8(found)]) ? nil : "the backup holds \(found) operations"
        })

    static let restore = CrashScenario(
        name: "restore",
        prepare: { home in
            var ledger = try await filled(home, turns: 5)
            let store = try await home.open()
            try await save(store, to: home.archive)
            ledger.replaced = ledger.present
            try await ledger.turns(3, of: home, to: store)
            await store.close()
            return ledger
        },
        act: { home, ledger in
            let secret = try secret.get()
            let restore = StoreRestore(
                path: home.path, key: try home.key(), hostname: "host", anchorFolder: home.environment.anchorFolder)
            _ = try restore.run(
                try ArchiveFile(home.archive), opening: { _ throws(RuntimeError) in secret }, replacing: true,
                at: 1_800_000_000)
            if let replaced = ledger.replaced { ledger.settle(on: replaced) }
        })

    /// From the first format, through all that were.
    static let upgrade = CrashScenario(
        name: "upgrade",
        prepare: { home in
            let ledger = try await filled(home, turns: 6)
            try age(home)
            return ledger
        },
        act: { home, ledger in
            let store = try await home.open()
            try await ledger.turns(1, of: home, to: store)
            await store.close()
        })

    /// Makes a store what the first release with one would have made.
    private static func age(_ home: CrashHome) throws {
        let file = StoreFile(path: home.path, key: try home.key(), hostname: "host", environment: home.environment)
        let opened = try file.open()
        let keys = try opened.ring.all.filter { $0.version == 1 }.map { ($0.version, $0.key) }
        let first = try KeyRing(store: opened.ring.store, keys: Dictionary(uniqueKeysWithValues: keys))
        let database = opened.database
        for (table, label) in [("streams", "stream"), ("owners", "owner")] {
            let names: [[UInt8]] =
                label == "stream"
                ? (0..<3).map { Fixture.stream($0).bytes.bytes } : (0..<2).map { Array(Fixture.owner($0).name.utf8) }
            for name in names {
                try database.run(
                    "UPDATE \(table) SET fingerprint = ? WHERE fingerprint = ?",
                    .blob(first.fingerprint(label, of: name)), .blob(opened.ring.fingerprint(label, of: name)))
            }
        }
        try database.execute(
            "DROP TABLE seals; DROP TABLE origin_names; DELETE FROM keys WHERE version = 0; PRAGMA user_version = 1")
        _ = try database.checkpoint()
    }

    /// A host that has little gets all of another's log, as a replication does it.
    static let snapshot = CrashScenario(
        name: "snapshot", prepare: { home in try await filled(home, turns: 2) },
        act: { home, ledger in
            let store = try await home.open()
            _ = try await store.recover()
            for batch in try await batches.value {
                await ledger.commit(to: store) { model in
                    var commit = Commit(seals: [batch.seal], durability: .relaxed)
                    for operation in batch.operations {
                        commit.heads = [model.head(after: operation)]
                        let part = Commit(operations: [operation], heads: commit.heads)
                        model.apply(part)
                        commit.operations.append(operation)
                    }
                    return commit
                }
            }
            // The host gives what it has to others while it goes on.
            _ = try? await store.makeSnapshot()
            try await ledger.turns(1, of: home, to: store)
            await store.close()
        })

    private static let batches = Task {
        let store = try await SQLiteContextStore.opened(Sandbox.inMemory(), node: Fixture.peer)
        var model = LogModel()
        try await SnapshotTests.fill(store, turns: 150, model: &model)
        let batches = try await SnapshotTests.fetch(store, try await store.makeSnapshot())
        await store.close()
        return batches
    }

    static let repair = CrashScenario(
        name: "repair",
        prepare: { home in
            // What a row was found by does not come back with it.
            var ledger = try await filled(home, turns: 9, isFound: false)
            let base = 1 << Limits.sequenceBits
            let database = try Database(.file(home.path))
            try database.execute(
                "UPDATE operations SET sealed = x'010203' WHERE id = \(base + 3); "
                    + "DELETE FROM operations WHERE id = \(base + 7)")
            ledger.damaged = Set(ledger.present.operations.keys.filter { [3, 7].contains($0.sequence) })
            return ledger
        },
        act: { home, ledger in
            let store = try await home.open()
            let copies = ledger.present.operations.values.sorted { $0.dot < $1.dot }
            for copy in [copies.filter { $0.dot.sequence <= 5 }, copies] {
                let repaired = try? await store.repair(copy)
                ledger.damaged.subtract(repaired ?? [])
            }
            _ = try await store.recount()
            guard ledger.damaged.isEmpty else { return await store.close() }
            try await ledger.turns(1, of: home, to: store)
            await store.close()
        })

    /// The power went while the log was long; it goes once more while that is put right.
    static let recovery = CrashScenario(
        name: "recovery",
        prepare: { home in
            let store = try await home.open()
            var ledger = CrashLedger()
            try await ledger.turns(4, of: home, to: store)
            try await ledger.turns(2, of: home, to: store, length: 9_000)
            // Nothing was closed, and the machine is off: the caller copies the files as they are.
            lingering.append(store)
            return ledger
        },
        act: { home, ledger in
            let store = try await home.open()
            try await ledger.turns(1, of: home, to: store)
            _ = try await store.threads.write { writer in writer.rest() }
            await store.close()
        })

    /// Stores that are not closed.
    private static let lingering = Lingering()
}

/// Keeps stores open to the end of the tests.
final class Lingering: Sendable {
    private let stores = Mutex<[SQLiteContextStore]>([])

    func append(_ store: SQLiteContextStore) { stores.withLock { $0.append(store) } }
}
