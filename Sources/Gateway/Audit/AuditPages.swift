import Core
import Guardian
import HTTPTypes
import Node

/// `GET /v1/admin/audit`: who was refused, and who changed what only an admin may change, on this host or another one.
struct AuditPages: Sendable {
    /// Nil where nothing is kept.
    let log: AuditLog?

    /// `after` is the number of an entry; without it the latest are shown. `verify=1` looks at the whole chain.
    func page(_ exchange: Exchange) async throws -> Reply {
        guard let log else {
            throw RuntimeError(.notFound, "this host keeps no audit log: mcp.enabled is false in its configuration")
        }
        var limit = 200
        if let text = exchange.query("limit") {
            guard let number = Int(text), (1...Limits.auditPage).contains(number) else {
                throw RuntimeError(
                    .invalidRequest, "limit must be a whole number from 1 to \(Limits.auditPage)", parameter: "limit")
            }
            limit = number
        }
        let after = try exchange.query("after").map { text in
            guard let number = UInt64(text) else {
                throw RuntimeError(.invalidRequest, "after must be the number of an entry", parameter: "after")
            }
            return number
        }
        let host = try exchange.query("host").map { text in
            guard let host = NodeID(hex: text) else {
                throw RuntimeError(.invalidRequest, "host must be the id of a host", parameter: "host")
            }
            return host
        }
        let verifies = exchange.query("verify") == "1"
        let page = try await log.page(of: host, after: after, limit: limit, verifies: verifies)
        var object = JSON.Object()
        object["object"] = "list"
        object["data"] = .array(page.entries.map(Self.json))
        if verifies {
            object["entries"] = .integer(Int64(page.total))
            object["intact"] = .bool(page.broken == nil)
            object["broken"] =
                page.broken.map { ["number": .integer(Int64(clamping: $0.number)), "reason": .string($0.reason)] }
                ?? .null
        }
        return Reply(.object(object))
    }

    private static func json(_ entry: AuditEntry) -> JSON {
        let event = entry.event
        return [
            "number": .integer(Int64(clamping: entry.number)),
            "at": .string(Timestamp(since1970: entry.milliseconds).description), "kind": .string(event.kind.word),
            "count": .integer(Int64(clamping: entry.count)), "caller": .string(event.caller),
            "token": .string(event.token), "address": .string(event.address), "action": .string(event.action),
            "target": .string(event.target), "status": .integer(Int64(event.status)), "code": .string(event.code),
            "hash": .string(entry.hash.hex),
        ]
    }
}
