package import Core
internal import Cryptography
internal import Logging
internal import Metrics
internal import Swarm

/// Snapshots: given to peers, and fetched from one where this host is far behind.
extension SwarmNode: SwarmServices {
    package func makeSnapshot() async throws -> SnapshotManifest {
        let manifest = try await setup.snapshots.makeSnapshot()
        lengths.removeAll { $0.id == manifest.id }
        lengths.append((manifest.id, manifest.bytes))
        if lengths.count > 16 { lengths.removeFirst() }
        return manifest
    }

    package func snapshotLength(_ id: Bytes16) async throws -> Int {
        guard let known = lengths.last(where: { $0.id == id }) else {
            throw RuntimeError(.notFound, "there is no such snapshot; ask for a new one")
        }
        return known.bytes
    }

    package func snapshotBytes(_ id: Bytes16, _ range: Range<Int>, to peer: NodeID) async throws -> [UInt8] {
        let wait = snapshotPace.wait(for: range.count, to: peer, at: now)
        snapshotBytes.increment(by: range.count)
        if wait > .zero {
            snapshotPause.recordNanoseconds(Int64(clamping: Int(wait / .nanoseconds(1))))
            try await Task.sleep(for: wait)
        }
        failpoint("snapshot.send")
        return try await setup.snapshots.snapshotBytes(id, range)
    }

    // MARK: - Fetching

    func fetchSnapshot(from peer: NodeID) {
        guard fetches[peer] == nil, !hasLeft else { return }
        fetches[peer] = Task {
            updatePhase()
            let isWhole = await fetch(peer)
            await writer.snapshotEnded(from: peer, isWhole: isWhole)
            fetches[peer] = nil
            updatePhase()
        }
    }

    private func fetch(_ peer: NodeID) async -> Bool {
        guard let host = mesh.hosts.first(where: { $0.node == peer }) else { return false }
        for address in host.addresses {
            let fetch = SnapshotFetch(transport: setup.transport, address: address, peer: peer)
            do {
                let begin = now
                let manifest = try await fetch.manifest()
                log.notice(
                    "far behind: fetching a snapshot",
                    metadata: [
                        "peer.id": "\(peer)", "snapshot.operations": "\(manifest.operations)",
                        "snapshot.bytes": "\(manifest.bytes)",
                    ])
                try await fetch.parts(of: manifest) { [writer] in await writer.receivedSnapshot($0, from: peer) }
                log.notice("snapshot taken", metadata: ["peer.id": "\(peer)", "duration": "\(now - begin)"])
                return true
            } catch {
                log.notice(
                    "a snapshot could not be fetched",
                    metadata: ["peer.id": "\(peer)", "peer.address": "\(address)", "error": "\(error)"])
            }
        }
        return false
    }
}
