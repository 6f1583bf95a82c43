import Core
import Guardian
import HTTPTypes

/// What a request asks of the swarm.
enum SwarmRoute: Hashable {
    case peers
    case diagnostics
    case status
    case nodes
    case topology
    case events
    case join
    case rotate
    case evict
    /// A peer's link (``SwarmLink``).
    case link(LinkPurpose)
    case vector
    case snapshots
    case snapshot(String)
    /// A model's file, by its digest.
    case modelFile(String)
    case verify
    case streams
    /// Whose a key is, on the ring of hosts.
    case owners(String)
    case capacity

    init?(path: Substring) {
        switch path {
        case "/v1/mcp/peers": self = .peers
        case "/v1/mcp/diagnostics": self = .diagnostics
        case "/v1/swarm/status": self = .status
        case "/v1/swarm/nodes": self = .nodes
        case "/v1/swarm/topology": self = .topology
        case "/v1/swarm/events": self = .events
        case "/v1/swarm/capacity": self = .capacity
        case "/v1/swarm/join": self = .join
        case "/v1/swarm/rotate": self = .rotate
        case "/v1/swarm/evict": self = .evict
        case "/v1/swarm/ws": self = .link(.swarm)
        case "/v1/swarm/work": self = .link(.work)
        case "/v1/swarm/tunnel": self = .link(.tunnel)
        case "/v1/sync/vector": self = .vector
        case "/v1/sync/snapshot": self = .snapshots
        case "/v1/sync/streams": self = .streams
        case "/v1/swarm/verify": self = .verify
        case let path where path.hasPrefix("/v1/sync/snapshot/"):
            self = .snapshot(String(path.dropFirst("/v1/sync/snapshot/".count)))
        case let path where path.hasPrefix("/v1/swarm/dht/"):
            guard let key = Route.decoded(path.dropFirst("/v1/swarm/dht/".count)), !key.isEmpty else { return nil }
            self = .owners(key)
        case let path where path.hasPrefix("/v1/sync/models/"):
            self = .modelFile(String(path.dropFirst("/v1/sync/models/".count)))
        default: return nil
        }
    }

    var access: Access {
        switch self {
        case .peers, .diagnostics, .status, .nodes, .topology, .events, .owners, .capacity: .read
        case .join, .rotate, .evict, .verify: .admin
        case .link, .vector, .snapshots, .snapshot, .streams, .modelFile: .peer
        }
    }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .join, .rotate, .evict, .verify: [.post]
        case .events, .link: [.get]
        default: [.get, .head]
        }
    }

    var pattern: String {
        switch self {
        case .peers: "/v1/mcp/peers"
        case .diagnostics: "/v1/mcp/diagnostics"
        case .status: "/v1/swarm/status"
        case .nodes: "/v1/swarm/nodes"
        case .topology: "/v1/swarm/topology"
        case .events: "/v1/swarm/events"
        case .join: "/v1/swarm/join"
        case .rotate: "/v1/swarm/rotate"
        case .evict: "/v1/swarm/evict"
        case .link(let purpose): purpose.path
        case .vector: "/v1/sync/vector"
        case .snapshots: "/v1/sync/snapshot"
        case .snapshot: "/v1/sync/snapshot/{id}"
        case .modelFile: "/v1/sync/models/{digest}"
        case .streams: "/v1/sync/streams"
        case .verify: "/v1/swarm/verify"
        case .owners: "/v1/swarm/dht/{key}"
        case .capacity: "/v1/swarm/capacity"
        }
    }
}
