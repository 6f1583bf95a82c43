package import Core

/// What the daemon was told: flags, environment, file and defaults, resolved once at start into one value that does
/// not change. Each room is handed only its part.
package struct Settings: Sendable {
    package var server: Server
    /// Never empty; names and aliases are unique.
    package var models: [Model]
    package var mcp: MCP
    package var node: Node
    package var context: Context
    package var scaling: Scaling
    package var routing: Routing
    package var queue: Queue
    package var auth: Auth
    package var tls: TLS
    package var rpcWorker: RPCWorker
    package var log: Log

    /// What an operator should know though nothing is wrong: references to unset variables, unknown ones with our prefix.
    package internal(set) var notices: [String] = []
    /// Every key with the value that stands and where it came from, in the order of the reference.
    package internal(set) var effective: [EffectiveValue] = []
    /// A secret stands in the file itself, not in a variable it refers to.
    var holdsLiteralSecret = false

    /// Where clients reach the daemon.
    package struct Server: Hashable, Sendable {
        package var host: String
        /// 0 takes any free port.
        package var port: Int
        /// Names beside loopback and this host's own that a request's Host may carry; lower case.
        package var allowedHosts: [String]
    }

    /// One model and the engine that answers for it.
    package struct Model: Sendable {
        package enum Engine: String, Sendable, CaseIterable {
            /// The best of what is installed: llama-server, else llama-completion.
            case auto
            case builtin
            case llamaServer = "llama-server"
            case remote
            case stdio
        }

        /// What a `stdio` engine speaks.
        package enum StdioProtocol: String, Sendable, CaseIterable {
            /// llama-completion and its like: one process an answer.
            case completion
            /// docs/engine-protocol.md: one process, many answers.
            case jsonl
        }

        package enum Template: String, Sendable, CaseIterable {
            case chatml
            case llama3
            case phi3
            case gemma
            case mistral
            case commandR = "command-r"
            case zephyr
        }

        package var name: String
        package var engine: Engine
        /// Of `stdio` alone.
        package var `protocol`: StdioProtocol
        package var aliases: [String]
        /// The model file, absolute; always set for `auto`, `llama-server` and `completion`.
        package var path: String?
        /// Program and arguments; empty for `builtin` and `remote`, and where an engine finds its program itself. A program with a slash is absolute, one without is for PATH.
        package var command: [String]
        /// Tokens of prompt and answer together; nil: what the model file says.
        package var context: Int?
        /// Nil: as the model file says.
        package var template: Template?
        package var threads: Int?
        /// Tokens a second; nil: as fast as it can.
        package var pace: Double?
        /// Answers at the same time.
        package var slots: Int?
        /// A `llama-server` also makes embeddings.
        package var embeddings: Bool
        /// Where a `remote` engine's API begins; always set for it.
        package var url: String?
        package var apiKey: Secret<String>?
        package var caFile: String?
        /// The model's name at the upstream; nil: the same as here.
        package var remoteModel: String?
        /// What an upstream can do; nil: what most can.
        package var capabilities: [EngineCapability]?
        /// Other hosts' programs that compute a part of it, of a llama-server alone; nil: this host does it all.
        package var workers: WorkerWish?
        /// The model that answers while this one cannot.
        package var fallback: String?
        /// How many engines of it run.
        package var instances: Instances
        /// How long it stays loaded when nobody asks for it.
        package var keepAlive: KeepAlive
        package var load: Loading

        /// Engines of one model beside each other.
        package struct Instances: Hashable, Sendable {
            package var min: Int
            package var max: Int
            /// So long a request waits before one more is started.
            package var wait: Duration
            /// So long one less would have sufficed before one is stopped.
            package var idle: Duration

            static let one = Instances(min: 1, max: 1, wait: .seconds(1), idle: .seconds(60))
        }

        package enum Loading: String, Sendable, CaseIterable {
            case start
            case demand
        }

        /// A model of a file that the daemon itself keeps.
        package init(name: String, engine: Engine, path: String) {
            self.name = name
            self.engine = engine
            self.path = path
            `protocol` = .completion
            aliases = []
            command = []
            embeddings = false
            instances = .one
            keepAlive = Self.usualKeepAlive(engine)
            load = .demand
        }

        /// What a program of somebody else holds is not known here: it stays.
        static func usualKeepAlive(_ engine: Engine) -> KeepAlive {
            engine == .auto || engine == .llamaServer ? .loaded(.seconds(600)) : .forever
        }
    }

    /// The program that this host lends to other hosts' models.
    package struct RPCWorker: Hashable, Sendable {
        package var enabled: Bool
        /// Program and arguments; empty: found in PATH.
        package var command: [String]
        /// Nil: all cores but one.
        package var threads: Int?
    }

    /// Shared context: storage and peers.
    package struct MCP: Sendable {
        package enum DefaultConversation: String, Sendable, CaseIterable {
            /// A bare request continues its caller's own conversation (design.md §3).
            case shared
            case off
        }

        package var enabled: Bool
        package var mdns: Bool
        package var multicast: Bool
        package var multicastPort: Int
        package var meshLimit: Int
        /// Hosts to dial beside those that are found.
        package var seeds: [NetworkAddress]
        /// Everyone on this LAN may join, without a key.
        package var open: Bool
        package var persist: Bool
        /// Absolute.
        package var storagePath: String
        /// Nil: a key of this device.
        package var encryptionKey: Secret<String>?
        package var defaultConversation: DefaultConversation
    }

    /// What this host is called, and what it may take.
    package struct Node: Hashable, Sendable {
        /// Nil: the machine's host name.
        package var name: String?
        /// Nil: not told.
        package var zone: String?
        /// Of every model, beside what its engine says.
        package var capabilities: [String]
        package var weight: Int
        /// Bytes of memory for all models that are loaded on demand; nil: a share of what the machine has.
        package var modelsMemory: Int?
        /// Resident bytes of the daemon above which nothing new is begun; nil: a share of what the machine has.
        package var memoryLimit: Int?
    }

    package struct Context: Hashable, Sendable {
        /// When a turn counts as kept. On a single host all three mean: it is on disk.
        package enum Durability: String, Sendable, CaseIterable {
            /// On this disk, or in a peer's store: whichever comes first.
            case first
            case fsync
            /// In the stores of more than half of the members.
            case quorum
        }

        package var durability: Durability
        /// So long after its last turn a conversation is kept; nil: for good.
        package var retention: Duration?
        /// What all conversations together may take in the store; nil: as much as there is room.
        package var maxBytes: Int?
        /// Free bytes of the store's disk below which nothing new is kept; nil: it is filled to the last.
        package var diskReserve: Int?
    }

    /// Which host answers.
    package struct Routing: Hashable, Sendable {
        package enum Algorithm: String, Sendable, CaseIterable {
            case auto
            case roundRobin = "round-robin"
            case weighted
            case leastConnections = "least-connections"
            case capability
            case hash
            case auction
        }

        package var algorithm: Algorithm
        /// An answer whose writer fails goes on elsewhere.
        package var failover: Bool
    }

    /// How requests wait for a model.
    package struct Queue: Hashable, Sendable {
        /// How many may, for each model.
        package var length: Int
        /// How long each may that does not say so itself; nil: as long as it takes.
        package var patience: Duration?
        /// They go to hosts that have less to do.
        package var moves: Bool
    }

    /// How many hosts the swarm's work asks for.
    package struct Scaling: Hashable, Sendable {
        /// So long a peak counts.
        package var window: Duration
        /// Program and arguments; empty: nobody is told.
        package var hook: [String]
    }

    /// What somebody may do, as of a token.
    package enum Scope: String, Sendable, CaseIterable {
        case chat, read, admin
    }

    /// Who may ask.
    package struct Auth: Sendable {
        package struct Key: Sendable {
            /// Nil where the file gives the key alone: its owner is then named after a hash of the key.
            package var name: String?
            package var key: Secret<String>
        }

        package enum LAN: String, Sendable, CaseIterable {
            /// Whoever is not on this machine needs a key.
            case key
            case open
        }

        package enum Requirement: String, Sendable, CaseIterable {
            /// Of other machines.
            case remote
            case always
        }

        /// Who signs with a key of its own.
        package struct Agent: Hashable, Sendable {
            package var name: String
            /// Ed25519, 64 hex digits, lower case.
            package var publicKey: String
            package var scopes: [Scope]
        }

        package var required: Requirement
        package var agents: [Agent]
        package var trustedNetworks: [AddressRange]
        package var externalNetworks: [AddressRange]
        package var keys: [Key]
        package var lan: LAN
        /// Empty: every address.
        package var ipAllowlist: [AddressRange]
        /// Requests a minute of one address; nil: as many as come.
        package var rateLimit: Int?
    }

    /// How clients are spoken with over TLS, on the port of everything else.
    package struct TLS: Hashable, Sendable {
        /// Whose certificates are known by more than their authority.
        package struct Client: Hashable, Sendable {
            package var name: String
            /// As RFC 2253 writes it.
            package var subject: String?
            /// SHA-256, 64 hex digits, lower case.
            package var fingerprint: String?
            package var scopes: [Scope]
        }

        package var isEnabled: Bool
        /// Nil: one that this host makes for itself.
        package var cert: String?
        package var key: String?
        package var clientCA: String?
        package var requiresClientCert: Bool
        /// Plain requests of other machines are refused.
        package var isRequired: Bool
        /// Empty: all that the authority of ``clientCA`` has signed.
        package var clients: [Client]
    }

    package struct Log: Hashable, Sendable {
        /// As in swift-log.
        package enum Level: String, Sendable, CaseIterable {
            case trace, debug, info, notice, warning, error, critical
        }

        package enum Format: String, Sendable, CaseIterable {
            /// Text on a terminal, JSON lines elsewhere.
            case auto
            case text
            case json
        }

        package var level: Level
        package var format: Format
    }
}

/// One key as `igris-runtime check` shows it.
package struct EffectiveValue: Hashable, Sendable {
    /// The key's full name, `server.port` or `models[0].name`.
    package var key: String
    /// As it would be written in the file; a secret is `<secret>`, a key that is not set is `null`.
    package var shown: JSON
    package var source: ValueSource
}

/// Which of the sources gave a value.
package enum ValueSource: Hashable, Sendable, CustomStringConvertible {
    case `default`
    case file(String, Position)
    case environment(String)
    case flag(String)

    package var description: String {
        switch self {
        case .default: "default"
        case .file(let name, let position): "\(name):\(position)"
        case .environment(let name): "environment \(name)"
        case .flag(let name): "flag \(name)"
        }
    }
}
