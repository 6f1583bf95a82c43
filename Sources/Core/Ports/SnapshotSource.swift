/// Snapshots of the log for peers that are new or far behind (swarm.md §4).
package protocol SnapshotSource: Sendable {
    /// Spools the log as it stands; writers and readers go on meanwhile. A young one is given out again; an old one
    /// goes when there are too many. Throws ``RuntimeError``, `.overloaded` while too many are being made.
    func makeSnapshot() async throws -> SnapshotManifest
    /// How long it is. Throws ``RuntimeError`` `.notFound` for one that has gone.
    func snapshotLength(_ id: Bytes16) async throws -> Int
    /// Bytes of a snapshot, at most 4 MiB at a time. Throws ``RuntimeError`` `.notFound` for
    /// one that has gone, `.invalidRequest` for a range outside of it.
    func snapshotBytes(_ id: Bytes16, _ range: Range<Int>) async throws -> [UInt8]
}
