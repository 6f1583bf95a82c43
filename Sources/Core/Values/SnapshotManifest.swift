/// A snapshot of the log as it is fetched: a stream of ``OperationBatch`` in an order in which each follows what it
/// depends on, cut into parts whose hashes stand here (swarm.md §4).
package struct SnapshotManifest: Hashable, Sendable {
    package var id: Bytes16
    package var bytes: Int
    /// All parts but the last have this length.
    package var partBytes: Int
    /// SHA-256 of each part.
    package var parts: [[UInt8]]
    package var operations: Int
    /// What the log holds once all of it is applied.
    package var vector: VersionVector

    package init(
        id: Bytes16, bytes: Int, partBytes: Int, parts: [[UInt8]], operations: Int, vector: VersionVector
    ) {
        self.id = id
        self.bytes = bytes
        self.partBytes = partBytes
        self.parts = parts
        self.operations = operations
        self.vector = vector
    }
}
