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

    /// `GET /v1/sync/snapshot/{id}`, whole or the part that `Range` names. It is read piece by piece, as the peer
    /// takes it.
    func send(_ text: String, _ exchange: Exchange, _ writer: ReplyWriter) async throws {
        guard let id = Bytes16(hex: text), let peer = exchange.client.certificate?.node else {
            throw RuntimeError(.notFound, "there is no such snapshot")
        }
        let length = try await swarm.snapshotLength(id)
        let fields = exchange.head.headerFields
        // A snapshot never changes under its name, so that every other tag is one of another.
        let isAsked = fields[.ifRange].map { $0 == Self.tag(id) } ?? true
        var headers = HTTPFields()
        headers[.contentType] = ContentType.bytes
        headers[.acceptRanges] = "bytes"
        headers[.eTag] = Self.tag(id)
        switch isAsked ? ByteRange(fields[.range], length: length) : .whole {
        case .whole: try await send(id, 0..<length, to: peer, .ok, headers, exchange, writer)
        case .part(let range):
            headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(length)"
            try await send(id, range, to: peer, .partialContent, headers, exchange, writer)
        case .unsatisfiable:
            throw APIError(
                416, code: "range_not_satisfiable", "the snapshot has \(length) bytes",
                headers: [("content-range", "bytes */\(length)")])
        }
    }

    private func send(
        _ id: Bytes16, _ range: Range<Int>, to peer: NodeID, _ status: HTTPResponse.Status, _ headers: HTTPFields,
        _ exchange: Exchange, _ writer: ReplyWriter
    ) async throws {
        try await exchange.client.whilePresent {
            var next = range.lowerBound
            // Read before the head is sent: a snapshot that has gone is still a plain error.
            var piece = writer.sendsBody ? try await self.piece(id, from: next, range, to: peer) : []
            try await writer.openBody(status, headers, length: range.count)
            while !piece.isEmpty {
                try await writer.send(part: piece)
                next += piece.count
                piece = try await self.piece(id, from: next, range, to: peer)
            }
            try await writer.finish()
        }
    }

    /// Empty at the end of the range.
    private func piece(_ id: Bytes16, from start: Int, _ range: Range<Int>, to peer: NodeID) async throws -> [UInt8] {
        let end = min(start + Limits.snapshotPartBytes, range.upperBound)
        guard start < end else { return [] }
        let bytes = try await swarm.snapshotBytes(id, start..<end, to: peer)
        guard bytes.count == end - start else {
            throw RuntimeError(.internal, "a snapshot gave \(bytes.count) bytes of \(end - start)")
        }
        return bytes
    }

    private static func tag(_ id: Bytes16) -> String { "\"\(id)\"" }
}
