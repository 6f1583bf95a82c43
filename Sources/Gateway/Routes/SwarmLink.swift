import Core
import NIOCore

/// `GET /v1/swarm/ws`, `work`, `tunnel`: another host of the swarm opens a link; and the rule by which paths are for such hosts only.
struct SwarmLink: Sendable {
    /// Nil where this host has no swarm.
    let door: PeerDoor?

    /// Who asks, if it is a host of the swarm. Throws ``APIError`` with the reason why it is not.
    func peer(of exchange: Exchange) throws(APIError) -> PeerCertificate {
        guard let door else {
            throw .notAPeer("this host is in no swarm (mcp.enabled is false)")
        }
        guard exchange.client.isSecure else {
            throw .notAPeer(
                "this path is for hosts of the swarm, over TLS with the swarm's certificate; no API key opens it")
        }
        guard let certificate = exchange.client.certificate else {
            throw .notAPeer("this path is for hosts of the swarm; the connection shows no certificate of it")
        }
        guard !door.isDenied(certificate.node) else {
            throw APIError(
                403, type: "permission_error", code: "evicted",
                "host \(certificate.node) was evicted from this swarm; it needs a new identity to come back")
        }
        return certificate
    }

    func open(_ purpose: LinkPurpose, _ exchange: Exchange, _ writer: ReplyWriter) async throws {
        let peer = try peer(of: exchange)
        guard let door else { return }
        try await writer.upgrade(exchange) { (door.takeLink($0, peer, purpose), ()) }
    }
}

extension APIError {
    fileprivate static func notAPeer(_ message: String) -> APIError {
        // Every 401 must name a way in, and this one names none that a browser would ask its user for.
        APIError(
            401, type: "authentication_error", code: "not_a_peer", message,
            headers: [("www-authenticate", "Certificate")])
    }
}
