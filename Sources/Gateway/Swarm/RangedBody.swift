import Core
import HTTPTypes

/// A body that a peer may fetch in parts, and again from where a connection broke off. It is read piece by piece, as
/// the peer takes it.
struct RangedBody: Sendable {
    /// What it is in the messages: `snapshot`.
    var name: String
    /// The entity tag; a body never changes under it, so that every other tag is one of another.
    var tag: String
    var length: Int
    /// At most ``Limits/snapshotPartBytes``.
    var read: @Sendable (Range<Int>) async throws -> [UInt8]

    /// All of it, or the part that `Range` names.
    func send(_ exchange: Exchange, _ writer: ReplyWriter) async throws {
        let fields = exchange.head.headerFields
        let isAsked = fields[.ifRange].map { $0 == tag } ?? true
        var headers = HTTPFields()
        headers[.contentType] = ContentType.bytes
        headers[.acceptRanges] = "bytes"
        headers[.eTag] = tag
        switch isAsked ? ByteRange(fields[.range], length: length) : .whole {
        case .whole: try await send(0..<length, .ok, headers, exchange, writer)
        case .part(let range):
            headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(length)"
            try await send(range, .partialContent, headers, exchange, writer)
        case .unsatisfiable:
            throw APIError(
                416, code: "range_not_satisfiable", "the \(name) has \(length) bytes",
                headers: [("content-range", "bytes */\(length)")])
        }
    }

    private func send(
        _ range: Range<Int>, _ status: HTTPResponse.Status, _ headers: HTTPFields, _ exchange: Exchange,
        _ writer: ReplyWriter
    ) async throws {
        try await exchange.client.whilePresent {
            var next = range.lowerBound
            // Read before the head is sent: a body that has gone is still a plain error.
            var piece = writer.sendsBody ? try await self.piece(from: next, range) : []
            try await writer.openBody(status, headers, length: range.count)
            while !piece.isEmpty {
                try await writer.send(part: piece)
                next += piece.count
                piece = try await self.piece(from: next, range)
            }
            try await writer.finish()
        }
    }

    /// Empty at the end of the range.
    private func piece(from start: Int, _ range: Range<Int>) async throws -> [UInt8] {
        let end = min(start + Limits.snapshotPartBytes, range.upperBound)
        guard start < end else { return [] }
        let bytes = try await read(start..<end)
        guard bytes.count == end - start else {
            throw RuntimeError(.internal, "a \(name) gave \(bytes.count) bytes of \(end - start)")
        }
        return bytes
    }
}
