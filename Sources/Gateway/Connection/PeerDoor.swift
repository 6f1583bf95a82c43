package import Core
package import NIOCore

/// How the one port also speaks TLS, and with the other hosts of the swarm. The roof knows no certificates: this is
/// what the room that does lends it. Every function is called on the connection's event loop.
package struct PeerDoor: Sendable {
    /// Puts TLS in front of everything else on a connection whose first byte asks for it. Succeeds once the handshake
    /// is done: with the swarm's certificate that the other side showed, or nil for one without; fails when there will
    /// be no TLS, and the connection is then closed.
    package var secure: @Sendable (_ connection: any Channel) -> EventLoopFuture<PeerCertificate?>
    /// Whether a TLS client that asks for this server name is a host of some swarm.
    package var isName: @Sendable (_ serverName: String) -> Bool
    /// Whether an identity was thrown out of the swarm.
    package var isDenied: @Sendable (NodeID) -> Bool
    /// What turns a connection that has just become a WebSocket into a link: handlers that take the frames' bytes.
    package var takeLink:
        @Sendable (_ connection: any Channel, _ peer: PeerCertificate, _ purpose: LinkPurpose) ->
            [any ChannelHandler]

    package init(
        secure: @escaping @Sendable (any Channel) -> EventLoopFuture<PeerCertificate?>,
        isName: @escaping @Sendable (String) -> Bool,
        isDenied: @escaping @Sendable (NodeID) -> Bool,
        takeLink: @escaping @Sendable (any Channel, PeerCertificate, LinkPurpose) -> [any ChannelHandler]
    ) {
        self.secure = secure
        self.isName = isName
        self.isDenied = isDenied
        self.takeLink = takeLink
    }
}
