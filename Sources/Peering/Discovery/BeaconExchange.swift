import Core
import Cryptography

/// Decides what a datagram means and whether it is answered: pure, so that hostile datagrams can be tried on it.
///
/// Answered at once, by unicast, is an authentic announcement of an instance that was not heard of lately, with a clock
/// near ours: not a foreign one, not a replay from another day.
struct BeaconExchange: Sendable {
    enum Outcome: Hashable, Sendable {
        /// Our own datagram, heard back, or one that only tries the way.
        case own
        /// Not ours to hear: no beacon, forged, or too many.
        case refused
        case seen(Sighting, answer: Bool)
    }

    /// Announcements older or newer than this are believed but not answered: an answer to a replayed datagram could
    /// be aimed at a third host.
    static let answerableSkew = Duration.seconds(120)
    /// An instance that was silent for so long is new again.
    static let memory = Duration.seconds(60)
    static let answers = (rate: 50.0, burst: 100.0)

    private var limiter: DatagramLimiter
    private var answers: TokenBucket
    private var heard: [InstanceID: Duration] = [:]

    init(at now: Duration) {
        limiter = DatagramLimiter(at: now)
        answers = TokenBucket(rate: Self.answers.rate, burst: Self.answers.burst, at: now)
    }

    /// `now` is monotonic, `clock` milliseconds since 1970.
    mutating func receive(
        _ datagram: [UInt8], from source: ScopedAddress, as own: Announcement, at now: Duration, clock: UInt64,
        macKey: (SwarmID) -> SymmetricKey?
    ) -> Outcome {
        guard limiter.admits(source, at: now) else { return .refused }
        // Some doctor tries whether datagrams of the group arrive at all.
        if datagram.starts(with: MulticastTrial.mark) { return .own }
        let beacon: Beacon
        do throws(RuntimeError) { beacon = try Beacon(decoding: datagram) } catch { return .refused }
        if beacon.node == own.node, beacon.instance == own.instance { return .own }
        // Whoever claims to be of this swarm must prove it; of another swarm's hosts there is nothing to prove.
        let key = macKey(beacon.swarm)
        if let key, !Beacon.isAuthentic(datagram, key: key) { return .refused }
        // An open swarm is for this LAN only.
        if beacon.security == .open, !source.isPrivate { return .refused }
        var hosts = beacon.isReachableAtSource ? [source] : []
        for address in beacon.addresses where !hosts.contains(address) && (!address.isLoopback || source.isLoopback) {
            hosts.append(address)
        }
        guard !hosts.isEmpty else { return .refused }
        let skew = Self.skew(of: beacon.clock, to: clock)
        let sighting = Sighting(
            channel: .multicast, addresses: hosts.map { NetworkAddress(host: $0.description, port: beacon.port) },
            node: beacon.node, instance: beacon.instance, swarm: beacon.swarm, security: beacon.security,
            version: beacon.version, isLeaving: key != nil && beacon.kind == .leaving, clockSkew: skew)
        guard key != nil, beacon.kind != .leaving else {
            if key != nil { heard[beacon.instance] = nil }
            return .seen(sighting, answer: false)
        }
        let isNew = remember(beacon.instance, at: now)
        let isTimely = skew < Self.answerableSkew && .zero - skew < Self.answerableSkew
        let isAnswered = isNew && isTimely && beacon.kind == .announcement && answers.take(at: now)
        return .seen(sighting, answer: isAnswered)
    }

    /// True where the instance was not heard of lately.
    private mutating func remember(_ instance: InstanceID, at now: Duration) -> Bool {
        let last = heard[instance]
        if last == nil, heard.count >= Limits.knownHosts {
            heard = heard.filter { now - $0.value < Self.memory }
            if heard.count >= Limits.knownHosts { heard.removeAll(keepingCapacity: true) }
        }
        heard[instance] = now
        return last.map { now - $0 >= Self.memory } ?? true
    }

    private static func skew(of clock: UInt64, to own: UInt64) -> Duration {
        clock >= own
            ? .milliseconds(Int64(clamping: clock - own)) : .milliseconds(-Int64(clamping: own - clock))
    }
}
