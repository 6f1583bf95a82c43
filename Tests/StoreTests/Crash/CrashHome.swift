import Core
import Cryptography

@testable import Store

/// A host's files, opened as the daemon opens them: identity, device key, anchors, marks, swarm key, store.
struct CrashHome {
    let sandbox: Sandbox
    /// Without one a store that was closed well goes on in its epoch, as far as it itself can tell.
    var isMarked = true

    var state: String { sandbox.folder + "/state/igris" }
    var path: String { state + "/contexts.db" }
    var archive: String { sandbox.folder + "/backup.igris" }

    var environment: StoreEnvironment {
        var environment = Fixture.environment
        environment.anchorFolder = state + "/anchors"
        environment.identityFolder = isMarked ? state : nil
        return environment
    }

    func identity() throws -> NodeIdentity { try NodeIdentity.loadOrCreate(directory: state) }

    func key() throws -> StoreKey { .device(try DeviceKey.loadOrCreate(directory: state)) }

    func open() async throws -> SQLiteContextStore {
        let node = try identity().node
        return try await SQLiteContextStore.open(
            .file(path), key: try key(), node: node, hostname: "host", environment: environment)
    }

    func swarm() throws -> SwarmKeyRing {
        try SwarmKeyRing.resolve(directory: state, configured: nil, isOpen: false)
    }
}

/// What was acknowledged, and what may be there beyond it.
struct CrashLedger {
    /// States that a reboot may find: the first was acknowledged as being on disk, the others only to outlive the
    /// process.
    private(set) var kept = [LogModel()]
    /// What may be there although its commit was refused.
    private(set) var doubtful: [LogModel] = []
    /// The last number that was given to a commit, in each epoch of this host.
    private(set) var numbered: [Origin: UInt64] = [:]
    /// Known to have been in use when something was acknowledged.
    var node: NodeID?
    /// Acknowledged, and what may be in its place.
    var rings: [[UInt8]] = []
    /// Rows that were damaged to begin with.
    var damaged: Set<Dot> = []
    /// Nothing of the store is to be found again: another is put in its place.
    var replaced: LogModel?

    var present: LogModel { kept.last ?? LogModel() }
    var candidates: [LogModel] { kept + doubtful + (replaced.map { [$0] } ?? []) }

    init() {}

    /// A state that is on disk.
    init(_ model: LogModel) { kept = [model] }

    /// From now on only `model` will do.
    mutating func settle(on model: LogModel) {
        kept = [model]
        doubtful = []
        replaced = nil
    }

    /// Hands a commit to the store. False where it was refused.
    @discardableResult
    mutating func commit(
        to store: SQLiteContextStore, _ make: (inout LogModel) -> Commit
    ) async -> Bool {
        var model = present
        let commit = make(&model)
        model.apply(commit)
        for operation in commit.operations {
            numbered[operation.dot.origin] = max(numbered[operation.dot.origin] ?? 0, operation.dot.sequence)
        }
        do {
            try await store.commit(commit)
        } catch {
            doubtful.append(model)
            return false
        }
        doubtful = []
        if commit.durability == .synced { kept = [] }
        kept.append(model)
        return true
    }

    /// So many turns of this host, in three conversations.
    mutating func turns(
        _ count: Int, of home: CrashHome, to store: SQLiteContextStore, length: Int = 30, isFound: Bool = true
    ) async throws {
        let origin = try await store.recover().origin
        for _ in 0..<count {
            let done = await commit(to: store) { model in
                let number = model.operations.count
                return model.turn(
                    origin, stream: Fixture.stream(UInt64(number % 3)), owner: Fixture.owner(number % 2),
                    text: "turn \(number) " + String(repeating: "x", count: length),
                    prefix: isFound ? UInt64(number + 1) << 40 | UInt64(origin.epoch) : nil)
            }
            if done { node = origin.node }
        }
    }
}
