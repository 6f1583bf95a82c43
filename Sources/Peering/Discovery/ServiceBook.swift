import Core

/// The services that browsing has shown, and what is still to be asked about them: pure, driven by
/// ``ServiceDiscovery``. First a service is resolved (host, port, text), then its host's address is asked for, IPv4
/// before IPv6; what gets no answer is asked again later.
struct ServiceBook: Sendable {
    enum Event: Hashable, Sendable {
        case added(ServiceName)
        case removed(ServiceName)
        case resolved(ServiceName, ServiceRecord, target: String)
        /// It is this host's own, or nothing that concerns it.
        case dismissed(ServiceName)
        case addressed(ServiceName, ScopedAddress)
        /// The question came to nothing.
        case failed(ServiceName)
        case ticked
    }

    enum Effect: Hashable, Sendable {
        /// A question replaces the one that was open for the service.
        case resolve(ServiceName)
        case query(ServiceName, target: String, isIPv6: Bool)
        case drop(ServiceName)
        case sighted(Sighting)
    }

    /// Each open question costs a thread.
    static let mostOpen = 16
    static let mostServices = Limits.knownHosts
    static let resolvePatience = Duration.seconds(5)
    static let addressPatience = Duration.milliseconds(1_500)
    static let retry = Duration.seconds(5)
    /// A service whose text did not convince is read again, in case it changed: nothing else tells of that.
    static let secondLook = Duration.seconds(60)
    /// A host that is still announced is sighted again that often.
    static let repetition = Duration.seconds(30)

    private enum State: Hashable {
        case waiting(until: Duration)
        case resolving(until: Duration)
        case addressing(ServiceRecord, target: String, isIPv6: Bool, until: Duration)
        case known(Sighting, next: Duration)
    }

    private struct Entry: Hashable {
        /// Browsing shows a service once for each IP version, with nothing that tells them apart.
        var appearances = 1
        var state: State
    }

    private var entries: [ServiceName: Entry] = [:]

    /// Nobody but this host has been found.
    var isAlone: Bool {
        !entries.values.contains { entry in
            if case .known = entry.state { true } else { false }
        }
    }

    var found: Int {
        var nodes: Set<NodeID> = []
        for entry in entries.values {
            if case .known(let sighting, _) = entry.state, let node = sighting.node { nodes.insert(node) }
        }
        return nodes.count
    }

    /// Questions are open, so ticks should come soon.
    var isAsking: Bool { entries.values.contains(where: Self.isOpen) }

    mutating func step(_ event: Event, now: Duration) -> [Effect] {
        switch event {
        case .added(let name):
            if let entry = entries[name] {
                entries[name]?.appearances = entry.appearances + 1
            } else if entries.count < Self.mostServices {
                entries[name] = Entry(state: .waiting(until: now))
            }
            return ask(now)
        case .removed(let name): return remove(name) + ask(now)
        case .resolved(let name, let record, let target):
            guard case .resolving = entries[name]?.state else { return [] }
            entries[name]?.state = .addressing(
                record, target: target, isIPv6: false, until: now + Self.addressPatience)
            return [.query(name, target: target, isIPv6: false)]
        case .dismissed(let name):
            guard entries[name] != nil else { return [] }
            entries[name]?.state = .waiting(until: now + Self.secondLook)
            return [.drop(name)] + ask(now)
        case .addressed(let name, let address):
            guard case .addressing(let record, _, _, _) = entries[name]?.state else { return [] }
            let sighting = Sighting(
                channel: .mdns, addresses: [NetworkAddress(host: address.description, port: record.port)],
                node: record.node, instance: record.instance, swarm: record.swarm, security: record.security,
                version: record.version)
            entries[name]?.state = .known(sighting, next: now + Self.repetition)
            return [.drop(name), .sighted(sighting)] + ask(now)
        case .failed(let name): return fail(name, now) + ask(now)
        case .ticked: return tick(now)
        }
    }

    private mutating func remove(_ name: ServiceName) -> [Effect] {
        guard let entry = entries[name] else { return [] }
        guard entry.appearances <= 1 else {
            entries[name]?.appearances = entry.appearances - 1
            return []
        }
        entries[name] = nil
        guard case .known(var sighting, _) = entry.state else { return [.drop(name)] }
        sighting.isLeaving = true
        return [.drop(name), .sighted(sighting)]
    }

    private mutating func fail(_ name: ServiceName, _ now: Duration) -> [Effect] {
        guard let entry = entries[name], Self.isOpen(entry) else { return [] }
        if case .addressing(let record, let target, false, _) = entry.state {
            entries[name]?.state = .addressing(record, target: target, isIPv6: true, until: now + Self.addressPatience)
            return [.query(name, target: target, isIPv6: true)]
        }
        entries[name]?.state = .waiting(until: now + Self.retry)
        return [.drop(name)]
    }

    private mutating func tick(_ now: Duration) -> [Effect] {
        var effects: [Effect] = []
        for name in entries.keys.sorted() {
            switch entries[name]?.state {
            case .resolving(let until) where until <= now, .addressing(_, _, _, let until) where until <= now:
                effects += fail(name, now)
            case .known(let sighting, let next) where next <= now:
                entries[name]?.state = .known(sighting, next: now + Self.repetition)
                effects.append(.sighted(sighting))
            default: break
            }
        }
        return effects + ask(now)
    }

    /// Opens as many questions as may be open.
    private mutating func ask(_ now: Duration) -> [Effect] {
        var free = Self.mostOpen - entries.values.count(where: Self.isOpen)
        guard free > 0 else { return [] }
        var effects: [Effect] = []
        for name in entries.keys.sorted() where free > 0 {
            guard case .waiting(let until) = entries[name]?.state, until <= now else { continue }
            entries[name]?.state = .resolving(until: now + Self.resolvePatience)
            effects.append(.resolve(name))
            free -= 1
        }
        return effects
    }

    private static func isOpen(_ entry: Entry) -> Bool {
        switch entry.state {
        case .resolving, .addressing: true
        case .waiting, .known: false
        }
    }
}
