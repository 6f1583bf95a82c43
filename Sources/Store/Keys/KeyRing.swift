import Core
import Cryptography
import Synchronization

/// The data keys of one open store. A sealed record is
///
///     key version u8 | nonce 12 | ciphertext | tag 16
///
/// 29 bytes more than its content (swarm.md §12). Versions count from 1 and begin again after 255.
final class KeyRing: Sendable {
    private struct Keys {
        var current: UInt8
        var byVersion: [UInt8: SymmetricKey]
    }

    /// Under this one lies no data key, but what look-ups are keyed with: it outlives every change of keys.
    static let indexVersion: UInt8 = 0
    /// More than are ever kept at once.
    static let most = 64

    let store: Bytes16
    let indexKey: SymmetricKey
    private let keys: Mutex<Keys>

    /// - Parameter keys: by version. A store of format 3 has no key for look-ups: there they are keyed with what
    ///   follows from its first one.
    init(store: Bytes16, keys: [UInt8: SymmetricKey]) throws(RuntimeError) {
        guard let current = Self.newest(of: keys.keys) else {
            throw RuntimeError(.corrupt, "the store's keys are missing: restore a backup of the store")
        }
        self.store = store
        if let indexKey = keys[Self.indexVersion] {
            self.indexKey = indexKey
        } else if let root = keys[1] {
            indexKey = try Self.derived(from: root, store: store, label: "igris-index-1")
        } else {
            throw RuntimeError(.corrupt, "the store's first key is missing: restore a backup of the store")
        }
        self.keys = Mutex(Keys(current: current, byVersion: keys.filter { $0.key != Self.indexVersion }))
    }

    /// The version that seals; all of them open.
    var current: UInt8 { keys.withLock { $0.current } }
    /// Of data keys, in no order.
    var versions: Set<UInt8> { keys.withLock { Set($0.byVersion.keys) } }

    /// What lies on disk: the current data key and that of the look-ups.
    var all: [(version: UInt8, key: SymmetricKey)] {
        get throws(RuntimeError) {
            let (version, key) = keys.withLock { ($0.current, $0.byVersion[$0.current]) }
            guard let key else { throw RuntimeError(.internal, "the store has no current key") }
            return [(Self.indexVersion, indexKey), (version, key)]
        }
    }

    /// From now on `key`, which is on disk, seals.
    func use(_ key: SymmetricKey, version: UInt8) {
        keys.withLock { keys in
            keys.byVersion[version] = key
            keys.current = version
        }
    }

    func forget(_ versions: Set<UInt8>) {
        keys.withLock { keys in
            for version in versions where version != keys.current { keys.byVersion[version] = nil }
        }
    }

    /// The one that none follows; nil where there is none.
    static func newest(of versions: some Sequence<UInt8>) -> UInt8? {
        let known = Set(versions).subtracting([indexVersion])
        guard let top = known.max(), top == .max else { return known.max() }
        // They have begun again, where the first ones are there.
        return (1...UInt8(most)).prefix { known.contains($0) }.last ?? top
    }

    /// The version of the next key; nil while too many are kept.
    var next: UInt8? {
        keys.withLock { keys in
            let next = keys.current == .max ? 1 : keys.current + 1
            return keys.byVersion.count < Self.most && keys.byVersion[next] == nil ? next : nil
        }
    }

    /// A key of this store for another purpose, told apart by its label.
    func key(label: String) throws(RuntimeError) -> SymmetricKey {
        try Self.derived(from: indexKey, store: store, label: "igris-derived-1 \(label)")
    }

    func seal(_ content: [UInt8], as place: RowPlace) throws(RuntimeError) -> [UInt8] {
        let (version, key) = keys.withLock { ($0.current, $0.byVersion[$0.current]) }
        guard let key else { throw RuntimeError(.internal, "the store has no current key") }
        do {
            return [version] + (try AESGCM.seal(content, key: key, aad: place.associatedData(in: store)))
        } catch {
            throw RuntimeError(.internal, "a record could not be sealed", cause: error)
        }
    }

    /// Nil when the record was changed, stands in another place than it was sealed for, or is of no known key.
    func open(_ record: [UInt8], as place: RowPlace) -> [UInt8]? {
        guard let version = record.first, let key = keys.withLock({ $0.byVersion[version] }) else { return nil }
        // Why it does not open makes no difference: it is not what was written here.
        return try? AESGCM.open(Array(record.dropFirst()), key: key, aad: place.associatedData(in: store))
    }

    /// What stands in an index instead of `value`: equal for equal values, and telling nothing else without the key.
    func fingerprint(_ kind: String, of value: [UInt8]) -> [UInt8] {
        Array(HMACSHA256.authenticate(Array(kind.utf8) + [0] + value, key: indexKey).prefix(16))
    }

    private static func derived(
        from root: SymmetricKey, store: Bytes16, label: String
    ) throws(RuntimeError) -> SymmetricKey {
        do {
            return try HKDF.derive(key: root, salt: store.bytes, label: label)
        } catch {
            throw RuntimeError(.internal, "a key could not be derived", cause: error)
        }
    }
}
