import Core
package import NIOCore

/// How the one port speaks TLS with clients. As ``PeerDoor``, lent by the room that knows certificates.
package struct ClientDoor: Sendable {
    /// What clients are shown.
    package struct Certificate: Sendable {
        /// SHA-256, in hex.
        package var fingerprint: String
        /// SHA-256 of its public key, in base64.
        package var keyPin: String
        /// PEM.
        package var text: String
        /// Seconds since 1970.
        package var notAfter: Int64
        /// This host made it for itself: nobody knows it but those who were told.
        package var isOwn: Bool
        /// Why what lies in the files now is not in use.
        package var trouble: String?

        package init(
            fingerprint: String, keyPin: String, text: String, notAfter: Int64, isOwn: Bool, trouble: String? = nil
        ) {
            self.fingerprint = fingerprint
            self.keyPin = keyPin
            self.text = text
            self.notAfter = notAfter
            self.isOwn = isOwn
            self.trouble = trouble
        }
    }

    /// Puts TLS in front of everything else on a connection. Succeeds once the handshake is done: with the certificate,
    /// DER, of a client that showed one of an authority of ours, else nil. Called on the connection's event loop.
    package var secure: @Sendable (_ connection: any Channel) -> EventLoopFuture<[UInt8]?>
    package var certificate: @Sendable () -> Certificate

    package init(
        secure: @escaping @Sendable (any Channel) -> EventLoopFuture<[UInt8]?>,
        certificate: @escaping @Sendable () -> Certificate
    ) {
        self.secure = secure
        self.certificate = certificate
    }
}
