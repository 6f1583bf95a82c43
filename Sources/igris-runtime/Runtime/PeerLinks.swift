import Core
import Cryptography
import Gateway
import Peering

/// The transport of links, and the door by which the gateway's one port leads to it.
struct PeerLinks {
    let transport: LinkTransport

    /// - Parameters:
    ///   - identity: this host's own key.
    ///   - primary: the swarm whose certificates this host shows.
    ///   - accepted: others whose key it holds, during a rotation.
    /// - Throws: ``RuntimeError`` when a seed cannot be used.
    init(identity: Ed25519.PrivateKey, primary: SwarmAuthority, accepted: [SwarmAuthority] = []) throws {
        transport = try LinkTransport(identity: identity, primary: primary, accepted: accepted)
    }

    var door: PeerDoor {
        PeerDoor(
            secure: { [transport] in transport.secure($0) }, isName: LinkTransport.isServerName,
            isDenied: { [transport] in transport.isDenied($0) },
            takeLink: { [transport] in transport.takeLink($0, from: $1, for: $2) })
    }
}
