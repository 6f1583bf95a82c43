package import Core

/// The cause of the error that ``SQLiteContextStore/open(_:key:node:hostname:)`` throws when another program, or
/// another store of this one, has the file open.
package struct StoreInUse: Error, Hashable, Sendable {
    package init() {}

    static let error = RuntimeError(
        .unavailable, "the store is in use by another instance: stop it, or give this one another storage_path",
        cause: StoreInUse())
}

extension RuntimeError {
    /// Whether the store's file is held by another instance, so that this one may use a file of its own.
    package var isStoreInUse: Bool { cause is StoreInUse }
}
