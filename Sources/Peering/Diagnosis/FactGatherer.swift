import Core
import Dispatch
import Glibc

/// Looks at this machine and at the neighbours, all at the same time, each look with its own patience.
struct FactGatherer: Sendable {
    private static let queue = DispatchQueue(label: "igris.doctor", attributes: .concurrent)
    private static let programPatience = Duration.seconds(3)
    private static let browsePatience = Duration.milliseconds(1_500)
    private static let askPatience = Duration.seconds(6)
    private static let lookupPatience = Duration.seconds(3)
    private static let mostAsked = 4
    private static let mostTried = 16
    private static let mostSeeds = 16

    let subject: DoctorSubject

    func gather() async -> LocalFacts {
        let interfaces = NetworkInterface.all()
        let port = subject.multicastPort
        async let multicast = Self.blocking(.seconds(3)) { MulticastTrial.run(port: port, interfaces: interfaces) }
        async let services = Self.blocking(.seconds(6)) { ServiceTrial.run(patience: Self.browsePatience) }
        async let firewall = Self.blocking(.seconds(7)) { Self.readFirewall() }
        async let machine = Self.blocking(.seconds(4)) { Self.readMachine(group: Self.group) }
        async let hostname = isHostnameKnown()
        async let seeds = gatherSeeds()
        async let own = tryOwn()
        async let peers = tryPeers()
        async let answers = askPeers()

        var facts = LocalFacts()
        facts.clock = WallClock.now
        facts.interfaces = interfaces.map(Self.look)
        facts.listeners = ["/proc/net/tcp", "/proc/net/tcp6"].compactMap(TextFile.read)
            .flatMap(SystemTables.listeners)
        facts.multicast = await multicast
        facts.services = await services
        facts.firewall = await firewall ?? FirewallFacts(reason: "reading the firewall's rules took too long")
        facts.machine = await machine ?? MachineFacts()
        facts.machine.isHostnameKnown = await hostname
        facts.seeds = await seeds
        (facts.ownAddresses, facts.ownOutcomes) = await own
        facts.peerOutcomes = await peers
        facts.answers = await answers
        return facts
    }

    // MARK: Patience

    /// Runs what blocks on a thread of its own; nil when it takes too long (it then goes on alone).
    private static func blocking<Value: Sendable>(
        _ patience: Duration, _ body: @escaping @Sendable () -> Value
    ) async -> Value? {
        await within(patience) {
            let (stream, continuation) = AsyncStream.makeStream(of: Value.self)
            queue.async {
                continuation.yield(body())
                continuation.finish()
            }
            for await value in stream { return value }
            return nil
        }
    }

    /// Nil when `body`, which must mind its cancellation, takes longer than `patience`.
    private static func within<Value: Sendable>(
        _ patience: Duration, _ body: @escaping @Sendable () async -> Value?
    ) async -> Value? {
        await withTaskGroup(of: Value?.self) { group in
            group.addTask { await body() }
            group.addTask {
                // Cancelled when the answer is there first.
                try? await Task.sleep(for: patience)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    // MARK: This machine

    private static var group: ScopedAddress { MulticastBeacons.groups[.ipv4] ?? .unspecifiedIPv4 }

    private static func look(_ interface: NetworkInterface) -> InterfaceFacts {
        let folder = "/sys/class/net/\(interface.name)"
        let members = SystemTables.members(of: group, TextFile.read("/proc/net/igmp") ?? "")
        var facts = InterfaceFacts(interface: interface, kind: kind(of: interface, folder))
        facts.mtu = number(in: "\(folder)/mtu")
        facts.hasJoinedGroup = members.contains(interface.name)
        facts.snoopsWithoutQuerier =
            number(in: "\(folder)/bridge/multicast_snooping") == 1
            && number(in: "\(folder)/bridge/multicast_querier") == 0
        return facts
    }

    private static func kind(of interface: NetworkInterface, _ folder: String) -> InterfaceFacts.Kind {
        if interface.isLoopback { return .loopback }
        if TextFile.exists("\(folder)/bridge") { return .bridge }
        let name = interface.name
        if TextFile.exists("\(folder)/tun_flags") || interface.isPointToPoint
            || ["wg", "tun", "tap", "tailscale", "zt", "ppp"].contains(where: name.hasPrefix)
        {
            return .tunnel
        }
        if TextFile.exists("\(folder)/wireless") || TextFile.exists("\(folder)/phy80211") { return .wireless }
        if ["veth", "docker", "br-", "virbr", "cni", "flannel", "vnet", "lxc", "podman", "cali"]
            .contains(where: name.hasPrefix)
        {
            return .virtual
        }
        return .physical
    }

    private static func number(in path: String) -> Int? {
        TextFile.read(path).flatMap { $0.split(whereSeparator: \.isWhitespace).first }.flatMap { Int($0) }
    }

    private static func readMachine(group: ScopedAddress) -> MachineFacts {
        var facts = MachineFacts()
        facts.hostname = hostname()
        facts.container = container()
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            facts.descriptorLimit = UInt64(limit.rlim_cur)
        }
        facts.otherInstances = Processes.otherInstances()
        facts.membershipLimit = number(in: "/proc/sys/net/ipv4/igmp_max_memberships")
        facts.groupRoutes = SystemTables.routes(to: group, TextFile.read("/proc/net/route") ?? "")
        let all = number(in: "/proc/sys/net/ipv4/conf/all/rp_filter") ?? 0
        facts.hasStrictReversePath = NetworkInterface.all().map(\.name).filter { name in
            max(all, number(in: "/proc/sys/net/ipv4/conf/\(name)/rp_filter") ?? 0) == 1
        }
        return facts
    }

    private static func hostname() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private static func container() -> String? {
        if TextFile.exists("/run/.containerenv") { return "podman" }
        if TextFile.exists("/.dockerenv") { return "docker" }
        let entries = TextFile.read("/proc/1/environ")?.split(separator: "\0") ?? []
        if let entry = entries.first(where: { $0.hasPrefix("container=") }) { return String(entry.dropFirst(10)) }
        return entries.contains { $0.hasPrefix("KUBERNETES_SERVICE_HOST=") } ? "kubernetes" : nil
    }

    private static func readFirewall() -> FirewallFacts {
        var facts = FirewallFacts()
        var reasons: [String] = []
        for (program, arguments) in [("nft", ["list", "ruleset"]), ("iptables", ["-S"])] {
            switch SystemProgram.output(program, arguments, patience: programPatience) {
            case .success(let text):
                let rules = program == "nft" ? FirewallRules(nft: text) : FirewallRules(iptables: text)
                if facts.rules == nil { facts.rules = rules } else { facts.rules?.merge(rules) }
            case .failure(.notInstalled): reasons.append("\(program) is not installed")
            case .failure(.timedOut): reasons.append("\(program) did not answer")
            case .failure(.failed): reasons.append("\(program) may only be asked by root")
            }
        }
        facts.reason = reasons.joined(separator: ", ")
        return facts
    }

    private func isHostnameKnown() async -> Bool? {
        let name = Self.hostname()
        return await Self.within(Self.lookupPatience) {
            switch await HostLookup.addresses(of: name) {
            case .success(let addresses): !addresses.isEmpty
            case .failure: false
            }
        }
    }

    // MARK: The neighbours

    private func gatherSeeds() async -> [SeedFacts] {
        await withTaskGroup(of: (Int, SeedFacts).self) { group in
            for (index, seed) in subject.seeds.prefix(Self.mostSeeds).enumerated() {
                group.addTask { (index, await Self.look(up: seed)) }
            }
            var found: [(Int, SeedFacts)] = []
            for await one in group { found.append(one) }
            return found.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private static func look(up seed: NetworkAddress) async -> SeedFacts {
        let result = await within(lookupPatience) { await HostLookup.addresses(of: seed.host) }
        switch result {
        case .success(let addresses):
            let outcomes = await ConnectProbe.connect(
                to: addresses.map { NetworkAddress(host: $0.description, port: seed.port) })
            return SeedFacts(seed: seed, addresses: addresses, failure: nil, outcomes: outcomes)
        case .failure(let failure):
            return SeedFacts(seed: seed, addresses: [], failure: failure.description, outcomes: [])
        case nil:
            return SeedFacts(seed: seed, addresses: [], failure: "the resolver did not answer", outcomes: [])
        }
    }

    /// Where other machines would reach this one.
    private var lanAddresses: [NetworkAddress] {
        ListeningAddresses.current(host: subject.host, port: subject.port).filter {
            IPAddress($0.host)?.isLoopback == false
        }
    }

    private func tryOwn() async -> ([NetworkAddress], [ConnectOutcome]) {
        let addresses = Array(lanAddresses.prefix(Self.mostTried))
        guard subject.daemon != nil else { return (addresses, []) }
        return (addresses, await ConnectProbe.connect(to: addresses))
    }

    private func tryPeers() async -> [(host: HostReport, outcome: ConnectOutcome)] {
        let hosts = subject.silentPeers
            .filter { ScopedAddress($0.address.host) != nil }.prefix(Self.mostTried)
        let outcomes = await ConnectProbe.connect(to: hosts.map(\.address))
        return zip(hosts, outcomes).map { (host: $0, outcome: $1) }
    }

    private func askPeers() async -> [(host: HostReport, answer: DiagnosisAnswer?)] {
        guard let daemon = subject.daemon else { return [] }
        let question = DiagnosisQuestion(addresses: lanAddresses, clock: WallClock.now)
        let asked = subject.linkedPeers.filter { $0.id != nil }.prefix(Self.mostAsked)
        return await withTaskGroup(of: (Int, HostReport, DiagnosisAnswer?).self) { group in
            for (index, host) in asked.enumerated() {
                guard let id = host.id else { continue }
                group.addTask { (index, host, await Self.within(Self.askPatience) { await daemon.ask(id, question) }) }
            }
            var found: [(Int, HostReport, DiagnosisAnswer?)] = []
            for await one in group { found.append(one) }
            return found.sorted { $0.0 < $1.0 }.map { (host: $0.1, answer: $0.2) }
        }
    }
}
