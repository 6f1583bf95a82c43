import Core
import Guardian
import HTTPTypes
import Node

/// Which requests the audit log is told of: all that were refused for who asked, all that changed what only an admin may
/// change, and all from the external zone. Never what was said, nor any part of a path or a body but the names in them.
struct AuditTrail: Sendable {
    /// Nil where nothing is kept.
    let log: AuditLog?

    /// - Parameters:
    ///   - identity: nil where nobody was admitted.
    ///   - refusal: what the request was answered with, where that was an error of its own.
    func ended(
        _ exchange: Exchange, route: Route?, identity: Identity?, refusal: APIError?, target: String?, status: Int
    ) {
        guard let log, let kind = kind(exchange.head.method, route, identity, refusal) else { return }
        let token = identity?.token?.id ?? AccessRule.tokenID(of: Admission.caller(exchange))
        log.record(
            AuditEvent(
                kind, caller: identity?.owner.name ?? "", token: token,
                address: exchange.client.peer?.description ?? "",
                action: "\(exchange.head.method.rawValue.prefix(20)) \(route?.pattern ?? "unknown")",
                target: target ?? "", status: status, code: refusal?.code ?? ""))
    }

    private func kind(
        _ method: HTTPRequest.Method, _ route: Route?, _ identity: Identity?, _ refusal: APIError?
    ) -> AuditEvent.Kind? {
        if let refusal, refusal.isDenial { return .denied }
        guard let identity else { return nil }
        guard route?.access == .admin, method != .get, method != .head else {
            return identity.zone == .external ? .external : nil
        }
        return .privileged
    }

    /// What an admin's request is about, by a name or an id in its body.
    static func target(_ body: [UInt8]) -> String? {
        guard let json = try? JSON.parse(body) else { return nil }
        return ["name", "id", "model"].lazy.compactMap { json[$0]?.string }.first
    }
}

extension APIError {
    /// It is for who asks, not for what.
    var isDenial: Bool { status == 401 || status == 403 || status == 429 && code == Self.rateCode }
}
