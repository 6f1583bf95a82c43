import Core
import Cryptography

/// How the data keys lie in the database: each sealed with a key derived from the one that the host was given.
struct KeyEnvelope {
    enum Kind: Int64 {
        case custom = 1
        case device = 2
    }

    /// The key that seals data keys: HKDF of the host's key, salted with the store's id; for a device key, the host's
    /// name is part of the label.
    private let wrapping: SymmetricKey
    let kind: Kind
    let store: Bytes16

    /// - Parameter anchor: bound into a device key, where there is one (``KeyAnchor``).
    init(
        _ key: StoreKey, store: Bytes16, hostname: String, anchor: SymmetricKey? = nil
    ) throws(RuntimeError) {
        let material: SymmetricKey
        let label: String
        switch key {
        case .custom(let key): (material, label, kind) = (key, "kek1", .custom)
        case .device(let key): (material, label, kind) = (key, "kek1" + hostname, .device)
        }
        guard material.count == AESGCM.keyBytes else {
            throw RuntimeError(.internal, "a store's key has \(material.count) bytes instead of 32")
        }
        do {
            let salt = store.bytes + (kind == .device ? anchor?.reveal() ?? [] : [])
            wrapping = try HKDF.derive(key: material, salt: salt, label: label)
        } catch {
            throw RuntimeError(.internal, "the store's key could not be derived", cause: error)
        }
        self.store = store
    }

    /// Tells a wrong key from a damaged row; without the key it tells nothing.
    var check: [UInt8] {
        Array(HMACSHA256.authenticate(Array("igris-key-check-1".utf8), key: wrapping).prefix(8))
    }

    func wrap(_ key: SymmetricKey, version: UInt8) throws(RuntimeError) -> [UInt8] {
        do {
            return try AESGCM.seal(key.reveal(), key: wrapping, aad: associatedData(version))
        } catch {
            throw RuntimeError(.internal, "the store's key could not be sealed", cause: error)
        }
    }

    /// Nil when it does not open.
    func unwrap(_ wrapped: [UInt8], version: UInt8) -> SymmetricKey? {
        // Why it does not open is told by ``check``.
        (try? AESGCM.open(wrapped, key: wrapping, aad: associatedData(version))).map { SymmetricKey($0) }
    }

    /// What to do about a store that this key does not open; `sealed` is the kind of key that it was made with.
    func refusal(sealed: Kind?) -> RuntimeError {
        let remedy =
            switch (sealed, kind) {
            case (.custom, .device):
                "it was made with mcp.encryption_key: set that key again"
            case (.device, .custom):
                "it was made without mcp.encryption_key: take the key out of the configuration, or give another "
                    + "storage_path"
            case (.custom, .custom), (nil, .custom):
                "mcp.encryption_key is not the one that it was made with: set that one, or give another storage_path"
            case (.device, .device), (nil, .device):
                "it belongs to another host, or is a copy from before a key was destroyed, or this host's name or key "
                    + "files have changed: put the name, \(DeviceKey.fileName) and the folder anchors back, or give "
                    + "another storage_path"
            }
        return RuntimeError(.wrongKey, "the key does not open the store, which stays as it is; \(remedy)")
    }

    private func associatedData(_ version: UInt8) -> [UInt8] {
        Array("igris-data-key-1".utf8) + store.bytes + [version]
    }
}
