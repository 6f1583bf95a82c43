import Core
import HTTPTypes
import Logging

/// One request on its way through the gateway: its head, its name, and the connection it came on.
struct Exchange: Sendable {
    let head: HTTPRequest
    let client: ClientConnection
    /// Names the request in replies and logs: the client's own id where it sent a usable one.
    let id: String
    /// The path without the query.
    let path: Substring
    /// As it stands in the head; nil where it is missing.
    let contentLength: String?
    /// A body follows the head.
    let hasBody: Bool
    private let ownersLog: Logger
    private let start = ContinuousClock.now

    init(head: HTTPRequest, client: ClientConnection, log: Logger) {
        self.head = head
        self.client = client
        let headers = head.headerFields
        id = Self.requestID(headers.value(of: .requestID)) ?? Self.newID()
        contentLength = headers.value(of: .contentLength)
        hasBody = headers.contains(.transferEncoding) || (contentLength ?? "0") != "0"
        let target = head.path ?? "/"
        path = target[..<(target.utf8.firstIndex(of: UInt8(ascii: "?")) ?? target.endIndex)]
        ownersLog = log
    }

    /// Whose lines name the request.
    var log: Logger {
        var log = ownersLog
        log[metadataKey: "request.id"] = "\(id)"
        return log
    }

    var elapsed: Duration { start.duration(to: .now) }

    /// The value of `name` in the query, undecoded.
    func query(_ name: String) -> Substring? {
        for pair in (head.path ?? "").drop(while: { $0 != "?" }).dropFirst().split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if let key = parts.first, key == name { return parts.count == 2 ? parts.last : "" }
        }
        return nil
    }

    /// All of the query, its escapes resolved. Throws ``RuntimeError`` for broken ones.
    func queryItems() throws(RuntimeError) -> [(name: String, value: String)] {
        var items: [(name: String, value: String)] = []
        for pair in (head.path ?? "").drop(while: { $0 != "?" }).dropFirst().split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts.first.flatMap(Route.decoded),
                let value = parts.count == 2 ? Route.decoded(parts[1]) : ""
            else { throw RuntimeError(.invalidRequest, "the query holds a broken percent escape") }
            items.append((name, value))
        }
        return items
    }

    static func newID() -> String { "req_\(AnswerID.random())" }

    private static func requestID(_ text: String?) -> String? {
        guard let text, (1...128).contains(text.utf8.count),
            text.utf8.allSatisfy({ byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            })
        else { return nil }
        return text
    }
}
