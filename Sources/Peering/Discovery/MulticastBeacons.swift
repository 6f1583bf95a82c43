import Core
import Cryptography
import Dispatch
import Glibc

/// Tells the LAN of this host by datagrams to a group, and hears the others'. Every process sends from a port of its
/// own and is answered there: the group's port is shared by all processes of a machine, and an answer sent to it would
/// reach any one of them.
actor MulticastBeacons: SightingSource {
    /// IPv4 needs IGMP that works in switches which snoop; IPv6's is of the link-local scope, transient.
    static let groups: [DatagramSocket.Family: ScopedAddress] = [
        .ipv4: ScopedAddress(known: [239, 255, 42, 99]),
        .ipv6: ScopedAddress(known: [0xFF, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x69, 0x67, 0x72, 0x69]),
    ]
    /// Interfaces are looked at that often even where the kernel tells of changes.
    private static let refreshInterval = Duration.seconds(5)
    /// Changes come in flocks: a cable is a link, an address, another address.
    private static let settling = Duration.milliseconds(200)

    /// What there is of one family.
    private final class Sockets {
        let group: SocketAddress
        let listener: DatagramSocket
        let sender: DatagramSocket
        var joined: [String: NetworkInterface] = [:]

        init(group: SocketAddress, listener: DatagramSocket, sender: DatagramSocket) {
            self.group = group
            self.listener = listener
            self.sender = sender
        }
    }

    nonisolated let board = StatusBoard(.multicast, .unavailable, "not started")
    nonisolated private let executor = QueueExecutor("igris.multicast")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let port: Int
    private let macKey: LANDiscovery.MACKey
    private let sightings: AsyncStream<Sighting>.Continuation
    private let started = ContinuousClock.now
    private var announcement: Announcement?
    private var exchange = BeaconExchange(at: .zero)
    private var schedule = BeaconSchedule(at: .zero)
    private var random = SystemRandomNumberGenerator()
    private var sockets: [Sockets] = []
    private var failures: [String] = []
    private var interfaces: [NetworkInterface] = []
    private var refreshAt = Duration.zero
    private var timer: (any DispatchSourceTimer)?
    private var readers: [any DispatchSourceRead] = []

    init(port: Int, macKey: @escaping LANDiscovery.MACKey, sightings: AsyncStream<Sighting>.Continuation) {
        self.port = port
        self.macKey = macKey
        self.sightings = sightings
    }

    func run(_ announcement: Announcement) async {
        self.announcement = announcement
        start()
        await untilCancelled()
        stop()
    }

    func announce(_ announcement: Announcement) {
        guard self.announcement != announcement else { return }
        self.announcement = announcement
        schedule.restart(at: now)
        tick()
    }

    private var now: Duration { ContinuousClock.now - started }

    // MARK: Sockets

    private func start() {
        let timer = DispatchSource.makeTimerSource(queue: executor.queue)
        timer.setEventHandler { [weak self] in self?.assumeIsolated { $0.tick() } }
        self.timer = timer
        refreshAt = now
        schedule.restart(at: now)
        if let changes = InterfaceChanges() {
            watch(changes.descriptor, of: changes) { [weak self] in
                changes.drain()
                self?.assumeIsolated { $0.refreshSoon() }
            }
        }
        timer.resume()
        tick()
    }

    private func stop() {
        send(.leaving)
        timer?.cancel()
        timer = nil
        for reader in readers { reader.cancel() }
        readers = []
        sockets = []
        interfaces = []
        announcement = nil
        board.set(.off, "stopped")
    }

    /// Opens what is not open yet: a machine may get its first IPv6 address, or its port back, at any time.
    private func openSockets() {
        failures = []
        for family in DatagramSocket.Family.allCases {
            guard let address = Self.groups[family], !sockets.contains(where: { $0.listener.family == family }) else {
                continue
            }
            do throws(DatagramSocket.Failure) {
                let group = SocketAddress(address, port: port)
                let new = Sockets(
                    group: group, listener: try .listening(to: group), sender: try .sending(family))
                sockets.append(new)
                for socket in [new.listener, new.sender] {
                    watch(socket.descriptor, of: socket) { [weak self] in
                        self?.assumeIsolated { $0.read(socket) }
                    }
                }
            } catch {
                // A machine without IPv6 is nothing to report.
                if family == .ipv4 { failures.append(error.description) }
            }
        }
    }

    /// `owner` holds the descriptor, and is kept until nobody watches it any more.
    private func watch(
        _ descriptor: Int32, of owner: some AnyObject & Sendable, _ handler: @escaping @Sendable () -> Void
    ) {
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: executor.queue)
        source.setEventHandler(handler: handler)
        source.setCancelHandler { withExtendedLifetime(owner) {} }
        source.resume()
        readers.append(source)
    }

    // MARK: Interfaces

    private func refreshSoon() {
        refreshAt = min(refreshAt, now + Self.settling)
        arm()
    }

    /// Joins on interfaces that came, forgets those that went. New ones are announced on at once.
    private func refresh() {
        refreshAt = now + Self.refreshInterval
        openSockets()
        let current = NetworkInterface.all().filter(\.carriesMulticast)
        if current != interfaces {
            interfaces = current
            schedule.restart(at: now)
        }
        for family in sockets { join(family) }
        report()
    }

    private func join(_ family: Sockets) {
        let wanted = interfaces.filter { interface in
            interface.addresses.contains { $0.address.isIPv6 == (family.listener.family == .ipv6) }
        }
        for (name, old) in family.joined where !wanted.contains(where: { $0.name == name && $0.index == old.index }) {
            // An interface that is gone took its membership along.
            try? family.listener.leave(family.group.address, on: old)
            family.joined[name] = nil
        }
        for interface in wanted where family.joined[interface.name] == nil {
            do throws(DatagramSocket.Failure) {
                try family.listener.join(family.group.address, on: interface)
                family.joined[interface.name] = interface
            } catch {
                if family.listener.family == .ipv4 { failures.append("\(interface.name): \(error)") }
            }
        }
    }

    private func report() {
        let joined = sockets.flatMap { $0.joined.keys }
        let names = interfaces.map(\.name).filter(joined.contains).joined(separator: ", ")
        let problems = failures.joined(separator: "; ")
        if names.isEmpty {
            board.set(
                .unavailable,
                problems.isEmpty
                    ? "no interface carries multicast; connect this machine to a network"
                    : "no group could be joined: \(problems)")
        } else {
            board.set(
                .on, "beacons on \(names), port \(port)" + (problems.isEmpty ? "" : "; not everywhere: \(problems)"))
        }
    }

    // MARK: Sending and receiving

    private func tick() {
        guard announcement != nil else { return }
        if now >= refreshAt { refresh() }
        if now >= schedule.next {
            send(.announcement)
            schedule.advance(at: now, using: &random)
        }
        arm()
    }

    private func arm() {
        let wait = max(.zero, min(schedule.next, refreshAt) - now)
        let nanoseconds = Int(wait / .nanoseconds(1))
        timer?.schedule(deadline: .now() + .nanoseconds(nanoseconds), leeway: .milliseconds(10))
    }

    private func send(_ kind: Beacon.Kind) {
        for family in sockets {
            for interface in family.joined.values.sorted(by: { $0.index < $1.index }) {
                guard let datagram = datagram(kind, over: interface, family.listener.family) else { continue }
                do throws(DatagramSocket.Failure) {
                    try family.sender.sendGroups(
                        by: interface, from: family.listener.family == .ipv4 ? interface.ipv4 : nil)
                    try family.sender.send(datagram, to: family.group)
                    board.sent(at: WallClock.now)
                } catch {
                    // The interface went down a moment ago: it is looked at anew.
                    refreshSoon()
                }
            }
        }
    }

    /// Nil where this host is not to be reached over `interface`, or its swarm's key is gone.
    private func datagram(
        _ kind: Beacon.Kind, over interface: NetworkInterface, _ family: DatagramSocket.Family
    ) -> [UInt8]? {
        guard let own = announcement, let key = macKey(own.swarm) else { return nil }
        let reachable = Reach(host: own.host).addresses(of: interface)
        guard !reachable.isEmpty else { return nil }
        let source = family == .ipv4 ? interface.ipv4 : interface.linkLocal
        let isReachableAtSource = source.map(reachable.contains) ?? false
        let beacon = Beacon(
            kind: kind, swarm: own.swarm, node: own.node, instance: own.instance, security: own.security,
            port: own.port, clock: WallClock.now, version: own.version, isReachableAtSource: isReachableAtSource,
            addresses: Array(
                reachable.filter { !($0.isIPv6 && $0.isLinkLocal) && !(isReachableAtSource && $0 == source) }
                    .prefix(Beacon.mostAddresses)))
        return beacon.encoded(key: key)
    }

    /// Reads a bounded number of datagrams; the source fires again where more wait.
    private func read(_ socket: DatagramSocket) {
        for _ in 0..<256 {
            guard let own = announcement, let (datagram, source) = socket.receive(atMost: Beacon.largest + 1) else {
                return
            }
            let outcome = exchange.receive(
                datagram, from: source.address, as: own, at: now, clock: WallClock.now, macKey: macKey)
            switch outcome {
            case .own: break
            case .refused: board.refused()
            case .seen(let sighting, let isAnswered):
                board.received(at: WallClock.now)
                sightings.yield(sighting)
                if isAnswered { answer(source, over: socket.family) }
            }
        }
    }

    private func answer(_ target: SocketAddress, over family: DatagramSocket.Family) {
        guard let sockets = sockets.first(where: { $0.listener.family == family }),
            let interface = interfaces.first(where: { $0.isOnLink(target.address) }) ?? interfaces.first,
            let datagram = datagram(.answer, over: interface, family)
        else { return }
        // Whether it arrives or not: the next beacon follows anyway.
        if (try? sockets.sender.send(datagram, to: target)) != nil { board.sent(at: WallClock.now) }
    }
}

extension NetworkInterface {
    /// `address` is a neighbour there.
    func isOnLink(_ address: ScopedAddress) -> Bool {
        if let zone = address.zone { return zone == name }
        return addresses.contains { $0.address.shares($0.prefixLength, with: address) }
    }
}
