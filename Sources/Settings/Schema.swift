import Core

/// Every key of the settings, once: its name, what it may hold, its default and one line about it. From here come
/// validation, the names of the variables, `docs/configuration.md` and the values that `igris-runtime check` shows.
extension Settings {
    /// The reference's rows, in the order of the schema.
    static let keys: [KeyDescription] = {
        var reader = SettingsReader(
            file: nil, flags: Overrides(), surroundings: Surroundings(environment: [:], folder: "/"),
            isDescribing: true)
        _ = Settings(reading: &reader)
        return reader.descriptions
    }()

    init(reading reader: inout SettingsReader) {
        server = reader.section("server", "Where clients reach the daemon.") { Server(reading: &$0) }
        models = Self.models(reading: &reader)
        mcp = reader.section("mcp", "Shared context: how conversations are kept and shared.") { MCP(reading: &$0) }
        node = reader.section("node", "What this host is called, and what it may take.") { Node(reading: &$0) }
        context = reader.section("context", "When a turn counts as kept, and how long conversations are.") {
            Context(reading: &$0)
        }
        routing = reader.section("routing", "Which host answers.") { Routing(reading: &$0) }
        queue = reader.section("queue", "How requests wait for a model that has too much to do.") {
            Queue(reading: &$0)
        }
        scaling = reader.section("scaling", "How many hosts the work of the swarm asks for.") { Scaling(reading: &$0) }
        auth = reader.section("auth", "Who may ask. Requests from this machine itself need no key.") {
            Auth(reading: &$0)
        }
        tls = reader.section(
            "tls",
            "TLS with clients, on the port of everything else; hosts of the swarm always speak it among themselves."
        ) { TLS(reading: &$0) }
        rpcWorker = reader.section(
            "rpc_worker",
            "Experimental: lend this host to models of other hosts that are too large for one (docs/engines.md)."
        ) { RPCWorker(reading: &$0) }
        log = reader.section("log", "What the daemon writes to its standard error.") { Log(reading: &$0) }
    }

    private static func models(reading reader: inout SettingsReader) -> [Model] {
        var names = ModelNames()
        let models = reader.items(
            "models", default: #"[{ name: "igris-recall", engine: "builtin", aliases: ["phi3"] }]"#,
            emptyIsAbsent: true, "The models that this host answers for, and the engines that run them."
        ) { reader, index in
            if index == 0 { names = ModelNames() }
            return Model(reading: &reader, names: &names)
        }
        for model in models {
            guard let fallback = model.fallback else { continue }
            let isAnother = models.contains { $0.name != model.name && ([$0.name] + $0.aliases).contains(fallback) }
            if !isAnother {
                reader.refuse(
                    "the fallback \(quoted(fallback)) of the model \(quoted(model.name)) is no other model of this host",
                    at: "models")
            }
        }
        return models
    }
}

extension Settings.RPCWorker {
    init(reading reader: inout SettingsReader) {
        enabled = reader.value(
            "enabled", .toggle, default: false,
            "Start llama.cpp's RPC server when a host of the swarm asks for it. Upstream calls it insecure: whoever holds "
                + "the swarm's key can make it crash, and perhaps more.")
        command =
            reader.optional(
                "command", .command,
                "The program and its arguments; without it `ggml-rpc-server` or `rpc-server` from PATH.") ?? []
        threads = reader.optional(
            "threads", .integer(1...1_024), "Threads to compute with; without it all cores but one.")
    }
}

extension Settings.Server {
    init(reading reader: inout SettingsReader) {
        host = reader.value(
            "host", .host, default: "0.0.0.0", "Address to listen on; `127.0.0.1` keeps other machines out.")
        port = reader.value(
            "port", .integer(0...65_535), default: 8_080, "TCP port to listen on; 0 takes any free port.")
        allowedHosts = reader.value(
            "allowed_hosts", .list(of: .hostName, count: 0...100), default: [],
            "Names that clients may use in `Host` beside this machine's own names and addresses."
        ).map { $0.lowercased() }
    }
}

extension Settings.MCP {
    init(reading reader: inout SettingsReader) {
        enabled = reader.value(
            "enabled", .toggle, default: true,
            "Keep, recall and share conversations; without it every request and every host stands alone.")
        mdns = reader.value(
            "mdns", .toggle, default: true,
            "Find peers by mDNS, through the Avahi daemon; where that is absent, `/v1/mcp/diagnostics` says so.")
        multicast = reader.value(
            "multicast", .toggle, default: true, "Find peers by UDP multicast, group 239.255.42.99.")
        multicastPort = reader.value(
            "multicast_port", .integer(1...65_535), default: 5_354,
            "UDP port of the multicast; the same on all hosts.")
        meshLimit = reader.value(
            "mesh_limit", .integer(2...1_024), default: 64,
            "Up to so many hosts each is linked with each. Of more, each keeps at most so many links, and a tree carries "
                + "what is fresh; the same on all hosts.")
        seeds = reader.value(
            "seeds", .list(of: .peerAddress, count: 0...1_000), default: [],
            "Hosts to dial beside those that are found; one that is reachable is enough, its members follow.")
        open = reader.value(
            "open", .toggle, default: false,
            "Share with every open host on this LAN, without a key: only where everyone may read everything.")
        persist = reader.value(
            "persist", .toggle, default: true,
            "Keep conversations on disk, encrypted; without it they live in memory and end with the daemon.")
        storagePath = reader.path(
            "storage_path", default: "mcp_contexts.db",
            "Database file; a relative path begins at the folder of the configuration file.")
        encryptionKey = reader.optional(
            "encryption_key", .encryptionKey, fallback: "MCP_ENCRYPTION_KEY",
            "Key of the database and of the swarm: hosts with the same key share everything. Without it random keys "
                + "of this user on this machine are made and kept.")
        defaultConversation = reader.value(
            "default_conversation", .choice(), default: .shared,
            "off: nothing is recalled or kept unless the request names a conversation.")
    }
}

extension Settings.Context {
    init(reading reader: inout SettingsReader) {
        durability = reader.value(
            "durability", .choice(), default: .first,
            "When a turn is acknowledged: `first`, at its first safe copy, on this disk or on a peer; `fsync`, on this "
                + "disk; `quorum`, on more than half of the hosts. One host alone: on this disk.")
        retention = reader.value(
            "retention", .off(or: .duration(.seconds(1)...(.seconds(3_650 * 86_400)))), default: nil,
            "How long after its last turn a conversation is kept; then it is deleted on every host. off: for good.")
        maxBytes = reader.value(
            "max_bytes", .off(or: .size), default: nil,
            "What all conversations together may take in the store; where it is more, those last used the longest "
                + "ago are deleted on every host. off: as much as the disk has room for.")
        diskReserve = reader.value(
            "disk_reserve", .off(or: .size), default: 64 << 20,
            "Free space of the store's disk that is left for what has begun. Where there is less (on a small disk: less "
                + "than an eighth of it), new turns are refused with 507, and peers are asked for theirs later.")
    }
}

extension Settings.Node {
    init(reading reader: inout SettingsReader) {
        name = reader.optional(
            "name", .nodeName, "Name of this host on peers' pages; without it the machine's host name.")
        zone = reader.optional(
            "zone", .nodeName, "Where this host stands, as a room, a building or a site; peers are told and show it.")
        capabilities = reader.value(
            "capabilities", .list(of: .nodeName, count: 0...16), default: [],
            "What this host's models can do beyond what their engines say: names of your own, for requests that name them "
                + "as `required_capabilities`."
        )
        weight = reader.value(
            "weight", .integer(0...100), default: 1,
            "Of the turns that `routing.algorithm: \"weighted\"` gives, how many this host takes beside the others.")
        modelsMemory = reader.optional(
            "models_memory", .size,
            "Memory for all models of llama-servers together; where one more does not fit, those used the longest ago "
                + "are unloaded. Without it three quarters of what the machine, or the daemon's control group, has.")
        memoryLimit = reader.optional(
            "memory_limit", .size,
            "Resident memory of the daemon, its engines not counted, above which requests are refused with 503 until "
                + "there is less. Without it 70 % of what the machine, or the daemon's control group, has.")
    }
}

extension Settings.Routing {
    init(reading reader: inout SettingsReader) {
        algorithm = reader.value(
            "algorithm", .choice(), default: .auto,
            "How this host chooses among those that have the model: `auto`, the least time to the first and the last "
                + "token; the others are in docs/routing.md.")
        failover = reader.value(
            "failover", .toggle, default: true,
            "An answer whose host or engine fails goes on at another host that has the model, in the same stream.")
    }
}

extension Settings.Queue {
    init(reading reader: inout SettingsReader) {
        length = reader.value(
            "length", .integer(0...10_000), default: Limits.queuedRequestsPerModel,
            "Requests that may wait for one model, fairly between callers; further ones are offered to other hosts, "
                + "then refused with 429.")
        patience = reader.value(
            "patience", .off(or: .duration(.seconds(1)...Limits.queuePatience)), default: nil,
            "How long a request waits for its turn that brings no `X-Igris-Deadline`; then it is refused with 504. "
                + "off: as long as it takes.")
        moves = reader.value(
            "moves", .toggle, default: true,
            "What waits here goes to hosts that have the model and nothing to do.")
    }
}

extension Settings.Scaling {
    init(reading reader: inout SettingsReader) {
        window = reader.value(
            "window", .duration(.seconds(1)...(.seconds(30 * 86_400))), default: .seconds(3_600),
            "How long a peak counts: `igris_desired_hosts` is for the most answers at once within it, and a quarter more."
        )
        hook =
            reader.optional(
                "hook", .command,
                "A program and its arguments, run without a shell and for at most 30 s when another number of hosts is "
                    + "wanted: the number wanted and the number there are its last two arguments. One host runs it.")
            ?? []
    }
}

extension Settings.Auth {
    init(reading reader: inout SettingsReader) {
        var seen: Set<String> = []
        keys = reader.items(
            "keys", default: "[]", shorthand: "key", "Keys that let clients of other machines in."
        ) { reader, index in
            if index == 0 { seen = [] }
            let name = reader.optional(
                "name", .keyName, "Owner of the key's conversations; without it they belong to a hash of the key.")
            let key = reader.required("key", .clientKey, "What the client sends as its API key.")
            // Two keys may share an owner, while one takes the other's place; one key cannot have two.
            if let key, !seen.insert(key.reveal()).inserted {
                reader.refuse("\(reader.full("key")) is the same as that of an earlier entry", at: "key")
            }
            return key.map { Key(name: name, key: $0) }
        }
        agents = Self.agents(reading: &reader)
        required = reader.value(
            "required", .choice(), default: .remote,
            "Of whom a key is asked: of clients of other machines, or `always`, of this one's too. Its user's verbs use a "
                + "socket that needs none.")
        trustedNetworks = reader.value(
            "trusted_networks", .list(of: .addressRange, count: 0...1_000), default: [],
            "CIDR blocks whose clients may change things, beside private ones and those that this machine is on; from "
                + "elsewhere things can only be read.")
        externalNetworks = reader.value(
            "external_networks", .list(of: .addressRange, count: 0...1_000), default: [],
            "CIDR blocks from which things can only be read, whatever else they are: that of guests, perhaps.")
        lan = reader.value(
            "lan", .choice(), default: .key, "Whether clients of other machines need a key, or all are let in.")
        ipAllowlist = reader.value(
            "ip_allowlist", .list(of: .addressRange, count: 0...1_000), default: [],
            "Addresses and CIDR blocks that may connect, beside this machine itself; empty lets all.")
        rateLimit = reader.optional(
            "rate_limit", .integer(1...1_000_000),
            "Requests a minute that one address may send, beside this machine itself; without it as many as come.")
    }
}

extension Settings.Log {
    init(reading reader: inout SettingsReader) {
        level = reader.value("level", .choice(), default: .info, "The least severe level that is written.")
        format = reader.value(
            "format", .choice(), default: .auto, "`auto` is text on a terminal and JSON lines elsewhere.")
    }
}
