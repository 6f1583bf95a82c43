import Core

/// What `GET /v1/status` tells of TLS with clients, so that they can compare what they are shown.
struct TLSPages: Sendable {
    /// Nil where there is none.
    let door: ClientDoor?
    let isRequired: Bool

    var status: JSON {
        guard let certificate = door?.certificate() else { return .null }
        return [
            "required": .bool(isRequired), "own": .bool(certificate.isOwn),
            "fingerprint": .string(certificate.fingerprint), "key_pin": .string("sha256//\(certificate.keyPin)"),
            "not_after": .string(
                Timestamp(since1970: UInt64(clamping: certificate.notAfter) &* 1_000).description),
            "certificate": .string(certificate.text),
            "trouble": certificate.trouble.map { .string($0) } ?? .null,
        ]
    }
}
