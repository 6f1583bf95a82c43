import Core
import Swarm

/// Fetches a snapshot from a peer, part by part (swarm.md §4). A lost connection is taken up where it broke.
struct SnapshotFetch: Sendable {
    let transport: any PeerTransport
    let address: NetworkAddress
    let peer: NodeID

    private static let path = "/v1/sync/snapshot"
    /// Asked for at once: enough to hide the round trip, little enough to hold.
    private static let pieceBytes = 8 * Limits.snapshotPartBytes
    private static let attempts = 5
    private static let pause = Duration.milliseconds(500)

    /// Throws ``LinkFailure``, ``RuntimeError``.
    func manifest() async throws -> SnapshotManifest {
        try SnapshotManifest(
            decoding: try await transport.get(Self.path, range: nil, from: address, node: peer))
    }

    /// Hands the batches over in their order; `take` returns once there is room for more.
    func parts(
        of manifest: SnapshotManifest, _ take: ([OperationBatch]) async -> Void
    ) async throws {
        var reader = try SnapshotReader(manifest)
        while let range = reader.next(atMost: Self.pieceBytes) {
            let batches = try await piece(range, of: manifest.id, &reader)
            await take(batches)
        }
    }

    private func piece(
        _ range: Range<Int>, of id: Bytes16, _ reader: inout SnapshotReader
    ) async throws -> [OperationBatch] {
        var attempt = 1
        while true {
            do {
                let bytes = try await transport.get("\(Self.path)/\(id)", range: range, from: address, node: peer)
                return try reader.received(bytes)
            } catch {
                // A snapshot that has gone does not come back.
                if (error as? RuntimeError)?.code == .notFound || attempt == Self.attempts { throw error }
                attempt += 1
                try await Task.sleep(for: Self.pause)
            }
        }
    }
}
