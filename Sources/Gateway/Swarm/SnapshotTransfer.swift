import Core
import HTTPTypes
import Node

/// Snapshots of the log, for peers that are new or far behind (swarm.md §4): a manifest, and the bytes, which can be
/// fetched again from where they broke off.
struct SnapshotTransfer: Sendable {
    let swarm: any SwarmServices

    /// `GET /v1/sync/snapshot`: makes one, or names one that was made a moment ago.
    func manifest(_ writer: ReplyWriter) async throws {
        let manifest = try await swarm.makeSnapshot()
        var reply = Reply(type: ContentType.bytes, body: manifest.encoded)
        reply.headers[.eTag] = Self.tag(manifest.id)
        try await writer.send(reply)
    }

    /// `GET /v1/sync/snapshot/{id}`, whole or the part that `Range` names.
    func send(_ text: String, _ exchange: Exchange, _ writer: ReplyWriter) async throws {
        guard let id = Bytes16(hex: text), let peer = exchange.client.certificate?.node else {
            throw RuntimeError(.notFound, "there is no such snapshot")
        }
        let body = RangedBody(name: "snapshot", tag: Self.tag(id), length: try await swarm.snapshotLength(id)) {
            [swarm] in try await swarm.snapshotBytes(id, $0, to: peer)
        }
        try await body.send(exchange, writer)
    }

    private static func tag(_ id: Bytes16) -> String { "\"\(id)\"" }
}
