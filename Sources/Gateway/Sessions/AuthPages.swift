import Core
import Guardian
import HTTPTypes
import Node

/// `/v1/auth/…`: sessions for those who sign a nonce, and who one is.
struct AuthPages: Sendable {
    /// Nil where there are none.
    let sessions: AuthSessions?

    func reply(to route: AuthRoute, _ exchange: Exchange, _ identity: Identity, body: [UInt8]) throws -> Reply {
        var reply =
            switch route {
            case .challenge: try challenge(exchange, body, try desk)
            case .session: try session(body, try desk)
            case .identity: Self.page(of: identity)
            }
        reply.headers[.cacheControl] = "no-store"
        return reply
    }

    private var desk: AuthSessions {
        get throws(RuntimeError) {
            guard let sessions else { throw RuntimeError(.notFound, "this host opens no sessions") }
            return sessions
        }
    }

    private func challenge(_ exchange: Exchange, _ body: [UInt8], _ sessions: AuthSessions) throws -> Reply {
        guard let agent = try JSON.parse(body)["agent_id"]?.string, AccessToken.isName(agent) else {
            throw RuntimeError(
                .invalidRequest, "agent_id is required: the name of a key, a token or an agent", parameter: "agent_id")
        }
        let made = try sessions.challenge(agent, from: exchange.client.peer?.origin ?? "")
        return Reply([
            "agent_id": .string(agent), "nonce": .string(made.nonce.hex), "message": .string(made.message),
            "expires": .integer(Int64(clamping: made.expires / 1_000)),
            "algorithms": ["ed25519", "hmac-sha256"],
        ])
    }

    private func session(_ body: [UInt8], _ sessions: AuthSessions) throws -> Reply {
        let json = try JSON.parse(body)
        let nonce = try Self.bytes("nonce", of: json, counts: [SessionDesk.nonceBytes])
        let signature = try Self.bytes("signature", of: json, counts: [32, 64])
        let session = try sessions.open(nonce, signature: signature)
        return Reply(
            status: .created,
            [
                "token": .string(session.text.reveal()), "token_type": "Bearer",
                "expires": .integer(Int64(clamping: session.expires / 1_000)),
                "expires_in": .integer(Limits.sessionLifetime.components.seconds),
            ])
    }

    private static func bytes(_ name: String, of json: JSON, counts: [Int]) throws -> [UInt8] {
        guard let text = json[name]?.string, let bytes = [UInt8](hex: text), counts.contains(bytes.count) else {
            let words = counts.map { "\($0)" }.joined(separator: " or ")
            throw RuntimeError(.invalidRequest, "\(name) is required: \(words) bytes in hex", parameter: name)
        }
        return bytes
    }

    private static func page(of identity: Identity) -> Reply {
        Reply([
            "caller": .string(identity.owner.name), "scopes": .array(identity.scopes.names.map { .string($0) }),
            "zone": .string(identity.zone.rawValue), "trust": .number(identity.zone.trust),
        ])
    }
}

extension IPAddress {
    /// Whoever has one address of the sixth version has 2^64 of them.
    fileprivate var origin: String {
        isVersion4 ? description : bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ".")
    }
}
