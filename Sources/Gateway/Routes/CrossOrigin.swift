import HTTPTypes

/// What a browser wants to hear before it lets a page use this host (Fetch standard, wire.md §5.6). The Origin has
/// passed the ``HostRule`` before any of this is said.
enum CrossOrigin {
    /// For every reply to a request of a page.
    static func headers(origin: String?) -> HTTPFields {
        guard let origin else { return HTTPFields() }
        var headers = HTTPFields()
        headers[.accessControlAllowOrigin] = origin
        headers[.vary] = "Origin"
        headers[.accessControlExposeHeaders] =
            "x-request-id, request-id, x-conversation-id, x-igris-served-by, x-igris-replicas, x-igris-context, "
            + "x-igris-queue-position, "
            + "retry-after, retry-after-ms"
        return headers
    }

    /// What a page asks before its request; answered without a key, because browsers send none with the question.
    static func preflight(_ head: HTTPRequest, methods: [HTTPRequest.Method]) -> Reply {
        let list = (methods + [.options]).map(\.rawValue).joined(separator: ", ")
        var reply = Reply.empty(.noContent)
        reply.headers[.allow] = list
        reply.headers[.accessControlAllowMethods] = list
        reply.headers[.accessControlAllowHeaders] = (allowed + stainless(head)).joined(separator: ", ")
        reply.headers[.accessControlMaxAge] = "600"
        return reply
    }

    private static let allowed = [
        "authorization", "content-type", "x-api-key", "anthropic-version", "anthropic-beta", "openai-beta",
        "openai-organization", "openai-project", "x-conversation-id", "x-request-id", "idempotency-key",
        "x-igris-priority", "x-igris-deadline",
        "x-stainless-arch", "x-stainless-async", "x-stainless-helper-method", "x-stainless-lang", "x-stainless-os",
        "x-stainless-package-version", "x-stainless-retry-count", "x-stainless-runtime",
        "x-stainless-runtime-version", "x-stainless-timeout",
    ]

    /// The library's own headers that are asked for and not in the list: it invents new ones now and then.
    private static func stainless(_ head: HTTPRequest) -> [String] {
        let asked = (head.headerFields[.accessControlRequestHeaders] ?? "").lowercased().split(separator: ",")
        let names = asked.map { String($0.drop { $0 == " " }.prefix { $0 != " " }) }
        return names.filter { name in
            name.hasPrefix("x-stainless-") && HTTPField.Name(name) != nil && !allowed.contains(name)
        }
    }
}
