package import Core

/// `GET /v1/logs`: the latest events of this host's log. Never prompts, answers or keys: those are in no log.
struct LogPages: Sendable {
    private static let lines = (usual: 200, most: 1_000)

    let source: GatewayLog

    /// `since` is a cursor of an earlier page, or a time as RFC 3339 writes it; without it the latest are shown.
    func page(_ exchange: Exchange) throws -> Reply {
        var limit = Self.lines.usual
        if let text = exchange.query("limit") {
            guard let number = Int(text), (1...Self.lines.most).contains(number) else {
                throw RuntimeError(
                    .invalidRequest, "limit must be a whole number from 1 to \(Self.lines.most)", parameter: "limit")
            }
            limit = number
        }
        let page = source.page(try exchange.query("since").map(Self.cursor), limit)
        return Reply([
            "object": "list", "data": .array(page.events), "next": .integer(page.next), "lost": .bool(page.hasLost),
        ])
    }

    private static func cursor(_ text: Substring) throws -> Int64 {
        if let cursor = Int64(text), cursor >= 0 { return cursor }
        guard let time = Timestamp(rfc3339: text) else {
            throw RuntimeError(
                .invalidRequest,
                "since must be the next of an earlier page, or a time such as 2026-11-21T07:50:00Z", parameter: "since")
        }
        let (microseconds, overflow) = time.milliseconds.multipliedReportingOverflow(by: 1_000)
        return overflow ? 0 : max(0, microseconds)
    }
}

/// Where the gateway finds what was logged.
package struct GatewayLog: Sendable {
    /// The first events after a cursor, or the latest ones; at most so many, and where to go on.
    package typealias Page = @Sendable (_ after: Int64?, _ limit: Int) -> (events: [JSON], next: Int64, hasLost: Bool)

    let page: Page

    package init(page: @escaping Page) { self.page = page }

    /// Nothing is kept.
    package static let none = GatewayLog { after, _ in ([], after ?? 0, false) }
}
