import Core
import Guardian
import HTTPTypes
import Node

/// `/v1/admin/tokens`: who may use the swarm. A token's text is in one reply, that to the request which made it.
struct TokenPages: Sendable {
    /// Nil where this host keeps none.
    let tokens: AccessTokens?

    func reply(to route: TokenRoute, _ exchange: Exchange, body: [UInt8]) async throws -> Reply {
        guard let tokens else {
            throw RuntimeError(
                .notFound,
                "this host keeps no tokens: mcp.enabled is false in its configuration; auth.keys are what "
                    + "opens it")
        }
        var reply: Reply
        switch route {
        case .all where exchange.head.method == .post: reply = try await make(TokenRequest(body), tokens)
        case .all: reply = Reply(["object": "list", "data": .array(tokens.all().map(Self.json))])
        case .one(let name):
            let (revoked, spread) = try await tokens.revoke(name)
            reply = Reply(["revoked": .array(revoked.map { .string($0.id) }), "hosts": Self.json(spread)])
        }
        reply.headers[.cacheControl] = "no-store"
        return reply
    }

    private func make(_ request: TokenRequest, _ tokens: AccessTokens) async throws -> Reply {
        let (token, text, spread) = try await tokens.make(
            request.name, scopes: request.scopes, models: request.models, lifetime: request.lifetime,
            rate: request.rate)
        var object = Self.object(AccessTokens.Listed(token: token, isRevoked: false, isExpired: false))
        object["token"] = .string(text.reveal())
        object["hosts"] = Self.json(spread)
        return Reply(status: .created, .object(object))
    }

    private static func json(_ listed: AccessTokens.Listed) -> JSON { .object(object(listed)) }

    private static func object(_ listed: AccessTokens.Listed) -> JSON.Object {
        let token = listed.token
        var object = JSON.Object()
        object["id"] = .string(token.id)
        object["object"] = "token"
        object["name"] = .string(token.name)
        object["scopes"] = .array(token.scopes.names.map { .string($0) })
        object["models"] = .array(token.models.map { .string($0) })
        object["created"] = .integer(Int64(clamping: token.created / 1_000))
        object["expires"] = token.expires.map { .integer(Int64(clamping: $0 / 1_000)) } ?? .null
        object["rate_per_minute"] = token.rate.map { .integer(Int64($0)) } ?? .null
        object["state"] = listed.isRevoked ? "revoked" : listed.isExpired ? "expired" : "active"
        return object
    }

    private static func json(_ spread: AccessTokens.Spread) -> JSON {
        ["have_it": .integer(Int64(spread.hosts)), "of": .integer(Int64(spread.of))]
    }
}

/// The body that asks for a token.
private struct TokenRequest {
    var name: String
    var scopes: Scopes = []
    var models: [String] = []
    var lifetime: Duration?
    var rate: Int?

    /// A token lives no longer than ten years; who wants one for ever leaves it out.
    private static let longest: Int64 = 3_652 * 86_400

    init(_ body: [UInt8]) throws {
        let json = try JSON.parse(body)
        guard let object = json.object else { throw RuntimeError(.invalidRequest, "the body must be a JSON object") }
        // A limit that was misspelt would be none.
        let known = ["name", "scopes", "models", "expires_in", "rate_per_minute"]
        if let stranger = object.members.first(where: { !known.contains($0.key) })?.key {
            throw Self.refusal(
                String(stranger.prefix(100)), "is not known; there are: \(known.joined(separator: ", "))")
        }
        guard let name = json["name"]?.string, AccessToken.isName(name) else {
            throw Self.refusal(
                "name", "must be 1 to \(Limits.tokenNameBytes) letters, digits or any of . _ - @, and no id of a token")
        }
        self.name = name
        for word in try Self.texts(json, "scopes") ?? ["chat"] {
            guard let scope = Scopes(word: word) else { throw Self.refusal("scopes", "must be of chat, read, admin") }
            scopes.insert(scope)
        }
        guard !scopes.isEmpty else { throw Self.refusal("scopes", "must name one of chat, read, admin at least") }
        models = try Self.texts(json, "models") ?? []
        guard models.count <= Limits.tokenModels, models.allSatisfy({ (1...Limits.modelNameBytes) ~= $0.utf8.count })
        else { throw Self.refusal("models", "must be at most \(Limits.tokenModels) names") }
        lifetime = try Self.number(json, "expires_in", 1...Self.longest).map { .seconds($0) }
        rate = try Self.number(json, "rate_per_minute", 1...1_000_000).map { Int($0) }
    }

    private static func texts(_ json: JSON, _ key: String) throws(RuntimeError) -> [String]? {
        guard let value = json[key], value != .null else { return nil }
        guard let list = value.array, list.allSatisfy({ $0.string != nil }) else {
            throw refusal(key, "must be a list of texts")
        }
        return list.compactMap(\.string)
    }

    private static func number(
        _ json: JSON, _ key: String, _ range: ClosedRange<Int64>
    ) throws(RuntimeError) -> Int64? {
        guard let value = json[key], value != .null else { return nil }
        guard case .integer(let number) = value, range.contains(number) else {
            throw refusal(key, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    private static func refusal(_ key: String, _ text: String) -> RuntimeError {
        RuntimeError(.invalidRequest, "\(key) \(text)", parameter: key)
    }
}
