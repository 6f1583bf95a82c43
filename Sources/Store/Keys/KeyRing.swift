import Core
import Cryptography

/// The data keys of one open store. A sealed record is
///
///     key version u8 | nonce 12 | ciphertext | tag 16
///
/// 29 bytes more than its content (swarm.md §12).
struct KeyRing: Sendable {
    let store: Bytes16
    /// The version that seals; all of them open.
    let current: UInt8
    private let keys: [UInt8: SymmetricKey]
    /// Derived from the first data key, which is never dropped, so that look-ups outlive a change of keys.
    private let indexKey: SymmetricKey
    private let root: SymmetricKey

    /// - Parameter keys: by version; at least the first, 1.
    init(store: Bytes16, keys: [UInt8: SymmetricKey]) throws(RuntimeError) {
        guard let root = keys[1], let current = keys.keys.max() else {
            throw RuntimeError(.corrupt, "the store's first key is missing: restore a copy of the store")
        }
        self.store = store
        self.current = current
        self.keys = keys
        self.root = root
        indexKey = try Self.derived(from: root, store: store, label: "igris-index-1")
    }

    /// A key of this store for another purpose, told apart by its label.
    func key(label: String) throws(RuntimeError) -> SymmetricKey {
        try Self.derived(from: root, store: store, label: "igris-derived-1 \(label)")
    }

    func seal(_ content: [UInt8], as place: RowPlace) throws(RuntimeError) -> [UInt8] {
        guard let key = keys[current] else { throw RuntimeError(.internal, "the store has no current key") }
        do {
            return [current] + (try AESGCM.seal(content, key: key, aad: place.associatedData(in: store)))
        } catch {
            throw RuntimeError(.internal, "a record could not be sealed", cause: error)
        }
    }

    /// Nil when the record was changed, stands in another place than it was sealed for, or is of no known key.
    func open(_ record: [UInt8], as place: RowPlace) -> [UInt8]? {
        guard let version = record.first, let key = keys[version] else { return nil }
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
