import Core
import Cryptography
import Synchronization

/// The snapshots that peers may fetch at present.
final class SnapshotShelf: Sendable {
    private struct Entry {
        var manifest: SnapshotManifest
        var spool: SnapshotSpool
        var made: ContinuousClock.Instant
        var used: ContinuousClock.Instant
    }

    private struct State {
        var entries: [Bytes16: Entry] = [:]
        var isBuilding = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// A young snapshot, or one that `build` makes: once for all who ask meanwhile.
    func snapshot(
        _ build: () async throws -> (SnapshotManifest, SnapshotSpool)
    ) async throws -> SnapshotManifest {
        while true {
            enum Turn {
                case take(SnapshotManifest)
                case build
                case wait
            }
            let turn = state.withLock { state -> Turn in
                if let young = state.entries.values.max(by: { $0.made < $1.made }),
                    ContinuousClock.now - young.made < Limits.snapshotYouth
                {
                    return .take(young.manifest)
                }
                if state.isBuilding { return .wait }
                state.isBuilding = true
                return .build
            }
            switch turn {
            case .take(let manifest): return manifest
            case .wait: await ended()
            case .build:
                defer { end() }
                let (manifest, spool) = try await build()
                put(manifest, spool)
                return manifest
            }
        }
    }

    /// Throws `.notFound`.
    func find(_ id: Bytes16) throws(RuntimeError) -> (manifest: SnapshotManifest, spool: SnapshotSpool) {
        let entry = state.withLock { state in
            state.entries[id]?.used = .now
            return state.entries[id]
        }
        guard let entry else {
            throw RuntimeError(.notFound, "this snapshot is no longer kept: ask for a fresh one")
        }
        return (entry.manifest, entry.spool)
    }

    /// Lets those go that nobody has asked for in a while.
    func expire() {
        state.withLock { state in
            state.entries = state.entries.filter { ContinuousClock.now - $0.value.used < Limits.snapshotLife }
        }
    }

    func removeAll() { state.withLock { $0.entries = [:] } }

    func put(_ manifest: SnapshotManifest, _ spool: SnapshotSpool) {
        expire()
        state.withLock { state in
            state.entries[manifest.id] = Entry(manifest: manifest, spool: spool, made: .now, used: .now)
            while state.entries.count > Limits.snapshots,
                let oldest = state.entries.min(by: { $0.value.used < $1.value.used })
            {
                state.entries[oldest.key] = nil
            }
        }
    }

    /// Waits for the build under way, if there is still one.
    private func ended() async {
        await withCheckedContinuation { caller in
            let isOver = state.withLock { state in
                if state.isBuilding { state.waiting.append(caller) }
                return !state.isBuilding
            }
            if isOver { caller.resume() }
        }
    }

    private func end() {
        let waiting = state.withLock { state in
            state.isBuilding = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for caller in waiting { caller.resume() }
    }
}
