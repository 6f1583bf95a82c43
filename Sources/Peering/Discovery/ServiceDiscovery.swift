import CDNSSD
import Core
import Cryptography
import Dispatch

/// Finds hosts by mDNS through Avahi (or another responder with its library). A library that is missing or a daemon
/// that went away is a state: both are looked for again every few seconds.
actor ServiceDiscovery: SightingSource {
    /// How often a daemon that is not there is looked for; asking costs a millisecond.
    private static let probeInterval = Duration.seconds(5)
    /// A browser's own queries become rare with time: while nobody is found, it begins anew.
    private static let rebrowseInterval = Duration.seconds(30)

    /// What one reference is for.
    private enum Purpose: Hashable {
        case registration
        case browsing
        case question(ServiceName)
    }

    nonisolated let board = StatusBoard(.mdns, .unavailable, "not started")
    nonisolated private let executor = QueueExecutor("igris.mdns")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let macKey: LANDiscovery.MACKey
    private let sightings: AsyncStream<Sighting>.Continuation
    private let started = ContinuousClock.now
    private var library: DNSServiceLibrary?
    private var announcement: Announcement?
    private var references: [Purpose: (reference: DNSServiceReference, serial: Int)] = [:]
    private var serial = 0
    private var book = ServiceBook()
    private var registeredName: String?
    private var isNameTaken = false
    private var browsedAt = Duration.zero
    private var timer: (any DispatchSourceTimer)?

    init(macKey: @escaping LANDiscovery.MACKey, sightings: AsyncStream<Sighting>.Continuation) {
        self.macKey = macKey
        self.sightings = sightings
    }

    func run(_ announcement: Announcement) async {
        self.announcement = announcement
        let timer = DispatchSource.makeTimerSource(queue: executor.queue)
        timer.setEventHandler { [weak self] in self?.assumeIsolated { $0.tick() } }
        self.timer = timer
        timer.resume()
        board.set(.unavailable, "the mDNS daemon has not answered yet; multicast and seeds do not need it")
        tick()
        await untilCancelled()
        timer.cancel()
        self.timer = nil
        self.announcement = nil
        // Ending the registration is the goodbye.
        references = [:]
        book = ServiceBook()
        board.set(.off, "stopped")
    }

    func announce(_ announcement: Announcement) {
        guard let old = self.announcement, old != announcement else { return }
        self.announcement = announcement
        let keepsService =
            old.port == announcement.port && old.node == announcement.node && old.host == announcement.host
        if keepsService, let text = text(of: announcement), let registration = references[.registration],
            registration.reference.update(text: text)
        {
            board.sent(at: WallClock.now)
        } else if references[.browsing] != nil {
            references[.registration] = nil
            register()
        }
    }

    private var now: Duration { ContinuousClock.now - started }

    // MARK: The daemon

    private func tick() {
        guard announcement != nil else { return }
        if references[.browsing] == nil {
            connect()
        } else if book.isAlone, now - browsedAt >= Self.rebrowseInterval {
            browseAnew()
        }
        if references[.browsing] != nil {
            if references[.registration] == nil { register() }
            perform(book.step(.ticked, now: now))
        }
        let wait = book.isAsking ? 500 : Int(Self.probeInterval / .milliseconds(1))
        timer?.schedule(deadline: .now() + .milliseconds(wait), leeway: .milliseconds(50))
    }

    private func connect() {
        if library == nil { library = DNSServiceLibrary() }
        guard library != nil else {
            board.set(
                .unavailable,
                "\(DNSServiceLibrary.fileName) is not installed (Debian: libavahi-compat-libdnssd1); "
                    + "multicast and seeds do not need it")
            return
        }
        browseAnew()
        if references[.browsing] != nil { register() }
    }

    private func browseAnew() {
        references = references.filter { $0.key == .registration }
        book = ServiceBook()
        browsedAt = now
        let failure = open(.browsing) { library, reference, context in
            library.browse(reference, 0, 0, ServiceRecord.type, nil, dnsServiceBrowsed, context)
        }
        if failure != nil { lost() }
    }

    private func register() {
        guard let own = announcement, let text = text(of: own) else { return }
        guard !Reach(host: own.host).isLoopbackOnly else {
            board.set(.on, "looking only: the server listens on loopback, so the LAN is not told of it")
            return
        }
        // By the identity, not by the machine: several instances run on one. A taken name is one of a clone, or of this
        // host's last run, which the daemon has not let go of yet.
        let name = isNameTaken ? "\(own.node) \(own.instance.description.prefix(8))" : own.node.description
        let failure = open(.registration) { library, reference, context in
            library.register(
                reference, 0, 0, name, ServiceRecord.type, nil, nil, UInt16(clamping: own.port).bigEndian,
                UInt16(clamping: text.count), text, dnsServiceRegistered, context)
        }
        guard let failure else { return }
        if failure.isNameConflict, !isNameTaken {
            isNameTaken = true
            register()
        } else {
            board.set(.on, "looking only: the service could not be registered (\(failure))")
        }
    }

    /// Every reference is dead when the daemon is: none comes back with it.
    private func lost() {
        references = [:]
        book = ServiceBook()
        registeredName = nil
        isNameTaken = false
        board.set(
            .unavailable, "no mDNS daemon answers (systemctl start avahi-daemon); multicast and seeds do not need it")
    }

    private func text(of announcement: Announcement) -> [UInt8]? {
        guard let key = macKey(announcement.swarm) else { return nil }
        return ServiceRecord(announcement).encoded(key: key)
    }

    // MARK: References

    private func open(
        _ purpose: Purpose,
        _ begin: (DNSServiceLibrary, UnsafeMutablePointer<DNSServiceRef?>, UnsafeMutableRawPointer) ->
            DNSServiceErrorType
    ) -> DNSServiceFailure? {
        guard let library else { return DNSServiceFailure(code: -65_537) }
        serial += 1
        let serial = serial
        do throws(DNSServiceFailure) {
            let reference = try DNSServiceReference(
                library, queue: executor.queue,
                isReadable: { [weak self] in self?.assumeIsolated { $0.read(purpose, serial) } },
                begin: { begin(library, $0, $1) })
            references[purpose] = (reference, serial)
            return nil
        } catch {
            return error
        }
    }

    private func read(_ purpose: Purpose, _ serial: Int) {
        guard let held = references[purpose], held.serial == serial else { return }
        for reply in held.reference.process() {
            // A reply may have ended the reference.
            guard references[purpose]?.serial == serial else { return }
            take(reply, for: purpose)
        }
    }

    private func take(_ reply: DNSServiceReply, for purpose: Purpose) {
        switch (purpose, reply) {
        case (.registration, .registered(let name)):
            registeredName = name
            board.sent(at: WallClock.now)
            report()
        case (.registration, .failed(let code)):
            references[.registration] = nil
            let failure = DNSServiceFailure(code: code)
            if failure.isNameConflict, !isNameTaken {
                isNameTaken = true
                register()
            } else {
                lost()
            }
        case (.browsing, .browsed(let name, let isThere)):
            perform(book.step(isThere ? .added(name) : .removed(name), now: now))
        case (.browsing, .failed): lost()
        case (.question(let name), .resolved(let target, let port, let text)):
            perform(book.step(event(for: name, text: text, port: port, target: target), now: now))
        case (.question(let name), .record(let type, let data)):
            guard let address = address(type: type, data: data, interface: name.interface) else { return }
            perform(book.step(.addressed(name, address), now: now))
        case (.question(let name), .failed):
            perform(book.step(.failed(name), now: now))
        default: break
        }
    }

    private func event(for name: ServiceName, text: [UInt8], port: Int, target: String) -> ServiceBook.Event {
        guard let (record, code) = ServiceRecord.decode(text, port: port) else {
            board.refused()
            return .dismissed(name)
        }
        if let own = announcement, record.node == own.node, record.instance == own.instance { return .dismissed(name) }
        // Whoever claims to be of this swarm must prove it; of another swarm's hosts there is nothing to prove.
        if let key = macKey(record.swarm), !record.isAuthentic(code, key: key) {
            board.refused()
            return .dismissed(name)
        }
        return .resolved(name, record, target: target)
    }

    private func address(type: UInt16, data: [UInt8], interface: UInt32) -> ScopedAddress? {
        switch Int(type) {
        case kDNSServiceType_A where data.count == 4: ScopedAddress(bytes: data)
        case kDNSServiceType_AAAA where data.count == 16:
            ScopedAddress(bytes: data, zone: NetworkInterface.name(of: interface))
        default: nil
        }
    }

    private func perform(_ effects: [ServiceBook.Effect]) {
        for effect in effects {
            switch effect {
            case .drop(let name): references[.question(name)] = nil
            case .resolve(let name):
                let failure = open(.question(name)) { library, reference, context in
                    library.resolve(
                        reference, 0, name.interface, name.name, name.type, name.domain, dnsServiceResolved, context)
                }
                if failure != nil { perform(book.step(.failed(name), now: now)) }
            case .query(let name, let target, let isIPv6):
                let type = UInt16(isIPv6 ? kDNSServiceType_AAAA : kDNSServiceType_A)
                let failure = open(.question(name)) { library, reference, context in
                    library.queryRecord(
                        reference, 0, name.interface, target, type, UInt16(kDNSServiceClass_IN), dnsServiceQueried,
                        context)
                }
                if failure != nil { perform(book.step(.failed(name), now: now)) }
            case .sighted(let sighting):
                board.received(at: WallClock.now)
                sightings.yield(sighting)
                report()
            }
        }
        if book.isAsking { timer?.schedule(deadline: .now() + .milliseconds(500), leeway: .milliseconds(50)) }
    }

    private func report() {
        guard references[.browsing] != nil else { return }
        let found = book.found
        let others = found == 1 ? "1 other host" : "\(found) other hosts"
        board.set(.on, registeredName.map { "registered as \($0); \(others)" } ?? "registering; \(others)")
    }
}
