package import Core
import Cryptography

extension SQLiteContextStore: SnapshotSource {
    package func makeSnapshot() async throws -> SnapshotManifest {
        let threads = try threads
        return try await threads.snapshots.snapshot {
            failpoint("snapshot.make")
            let spool = try SnapshotSpool(folder: threads.folder ?? "/tmp")
            var build = try await threads.read { reader throws(RuntimeError) in
                try SnapshotBuild(reader, spool: spool)
            }
            var isMore = true
            while isMore {
                try Task.checkCancellation()
                let present = build
                (build, isMore) = try await threads.read { reader throws(RuntimeError) in
                    var next = present
                    let isMore = try next.advance(reader)
                    return (next, isMore)
                }
            }
            return (build.manifest(id: try Self.randomID()), spool)
        }
    }

    package func snapshotLength(_ id: Bytes16) async throws -> Int {
        try threads.snapshots.find(id).manifest.bytes
    }

    package func snapshotBytes(_ id: Bytes16, _ range: Range<Int>) async throws -> [UInt8] {
        let threads = try threads
        let (manifest, spool) = try threads.snapshots.find(id)
        guard range.lowerBound >= 0, range.upperBound <= manifest.bytes, range.count <= Limits.snapshotReadBytes else {
            throw RuntimeError(
                .invalidRequest,
                "a snapshot of \(manifest.bytes) bytes has none at \(range); ask for at most \(Limits.snapshotReadBytes)"
            )
        }
        guard !range.isEmpty else { return [] }
        return try await threads.read { _ throws(RuntimeError) in
            var bytes: [UInt8] = []
            for index in range.lowerBound / manifest.partBytes...(range.upperBound - 1) / manifest.partBytes {
                let start = index * manifest.partBytes
                let part = try spool.read(part: index, bytes: min(manifest.partBytes, manifest.bytes - start))
                bytes += part[max(0, range.lowerBound - start)..<min(part.count, range.upperBound - start)]
            }
            return bytes
        }
    }

    private static func randomID() throws(RuntimeError) -> Bytes16 {
        do {
            guard let id = Bytes16(try SecureRandom.bytes(16)) else {
                throw RuntimeError(.internal, "a snapshot's name is too short")
            }
            return id
        } catch {
            throw RuntimeError(.system, "no random bytes can be had for a snapshot", cause: error)
        }
    }
}
