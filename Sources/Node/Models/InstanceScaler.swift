import Core

/// How many instances of one model's engine run, and which of them takes a request: one more when a request has waited
/// too long, one less when the others have sufficed for a while. A pure machine: events and the time in, actions out.
///
/// Requests wait here, not in an instance's own queue: one that is started takes from those that wait at once. The times
/// are apart (seconds to start, a minute to stop), and one instance is started at a time, so that the number does not
/// swing.
struct InstanceScaler: Sendable {
    typealias Instant = ContinuousClock.Instant
    typealias Request = UInt64
    /// An instance's number, never used again.
    typealias Number = Int

    struct Bounds: Hashable, Sendable {
        var least = 1
        var most = 1
        /// So long a request waits before another instance is started.
        var wait = Duration.seconds(1)
        /// So long one less would have sufficed before one is stopped.
        var idle = Duration.seconds(60)
    }

    enum Action: Hashable, Sendable {
        case start(Number)
        case stop(Number)
        /// It may use the instance until ``InstanceScaler/released(_:at:)``.
        case admit(Request, Number)
        case refuse(Request, RuntimeError.Code)
    }

    private enum Phase: Hashable, Sendable {
        case starting
        case ready
        /// Takes nothing new, and ends with its last answer.
        case leaving
    }

    private struct Instance: Sendable {
        var phase = Phase.starting
        var slots = 1
        var running = 0

        var hasRoom: Bool { phase == .ready && running < slots }
    }

    let bounds: Bounds
    private var instances: [Number: Instance] = [:]
    private var next: Number = 0
    private var waiting: [(request: Request, since: Instant)] = []
    /// Since when one less would suffice.
    private var quietSince: Instant?
    /// After a start that failed.
    private var retryAt: Instant?
    private var isStopped = false

    init(_ bounds: Bounds) { self.bounds = bounds }

    var count: Int { instances.values.count { $0.phase != .leaving } }
    var ready: Int { instances.values.count { $0.phase == .ready } }
    var running: Int { instances.values.reduce(0) { $0 + $1.running } }
    var queued: Int { waiting.count }

    // MARK: - Events

    mutating func began(at now: Instant) -> [Action] { (0..<max(1, bounds.least)).map { _ in start() } }

    mutating func requested(_ request: Request, at now: Instant) -> [Action] {
        guard !isStopped else { return [.refuse(request, .unavailable)] }
        guard waiting.count < Limits.queuedRequestsPerModel else { return [.refuse(request, .overloaded)] }
        waiting.append((request, now))
        return settle(at: now)
    }

    /// Nobody waits for it any more.
    mutating func abandoned(_ request: Request, at now: Instant) -> [Action] {
        waiting.removeAll { $0.request == request }
        return settle(at: now)
    }

    mutating func released(_ number: Number, at now: Instant) -> [Action] {
        guard let instance = instances[number], instance.running > 0 else { return [] }
        instances[number]?.running -= 1
        if instance.phase == .leaving, instance.running == 1 { return [remove(number)] + settle(at: now) }
        return settle(at: now)
    }

    mutating func started(_ number: Number, slots: Int, at now: Instant) -> [Action] {
        guard instances[number]?.phase == .starting else { return [] }
        instances[number]?.phase = .ready
        instances[number]?.slots = max(1, slots)
        retryAt = nil
        return settle(at: now)
    }

    /// The last of the least is tried again; those beyond are not needed to answer.
    mutating func startFailed(_ number: Number, at now: Instant) -> [Action] {
        guard instances[number]?.phase == .starting else { return [] }
        retryAt = now + Limits.modelRetry
        return [remove(number)]
    }

    mutating func ticked(at now: Instant) -> [Action] { settle(at: now) }

    /// Everyone who waits is turned away.
    mutating func stopped() -> [Action] {
        isStopped = true
        let refusals = waiting.map { Action.refuse($0.request, .unavailable) }
        waiting = []
        return refusals + instances.keys.sorted().map { .stop($0) }
    }

    // MARK: - Decisions

    private mutating func settle(at now: Instant) -> [Action] {
        guard !isStopped else { return [] }
        return admit() + grow(at: now) + shrink(at: now)
    }

    private mutating func admit() -> [Action] {
        var actions: [Action] = []
        while let first = waiting.first, let number = roomiest {
            waiting.removeFirst()
            instances[number]?.running += 1
            actions.append(.admit(first.request, number))
        }
        return actions
    }

    /// The one with the fewest answers; of equals the oldest.
    private var roomiest: Number? {
        instances.filter(\.value.hasRoom).min { ($0.value.running, $0.key) < ($1.value.running, $1.key) }?.key
    }

    private mutating func grow(at now: Instant) -> [Action] {
        guard !instances.values.contains(where: { $0.phase == .starting }), retryAt.map({ now >= $0 }) ?? true else {
            return []
        }
        if count < bounds.least { return [start()] }
        guard count < bounds.most, let oldest = waiting.first, now - oldest.since >= bounds.wait else { return [] }
        // One that was about to go is sooner back than another is there.
        if let back = instances.filter({ $0.value.phase == .leaving }).keys.min() {
            instances[back]?.phase = .ready
            return admit()
        }
        return [start()]
    }

    private mutating func shrink(at now: Instant) -> [Action] {
        guard let victim = idlest, waiting.isEmpty, ready > max(1, bounds.least), count == ready,
            running <= slots - (instances[victim]?.slots ?? 0)
        else {
            quietSince = nil
            return []
        }
        guard let since = quietSince else {
            quietSince = now
            return []
        }
        guard now - since >= bounds.idle else { return [] }
        // Each of several goes after a time of its own.
        quietSince = now
        guard instances[victim]?.running == 0 else {
            instances[victim]?.phase = .leaving
            return []
        }
        return [remove(victim)]
    }

    /// Of those with the fewest answers the youngest.
    private var idlest: Number? {
        instances.filter { $0.value.phase == .ready }
            .min { ($0.value.running, -$0.key) < ($1.value.running, -$1.key) }?.key
    }

    private var slots: Int { instances.values.filter { $0.phase == .ready }.reduce(0) { $0 + $1.slots } }

    private mutating func start() -> Action {
        next += 1
        instances[next] = Instance()
        return .start(next)
    }

    private mutating func remove(_ number: Number) -> Action {
        instances[number] = nil
        return .stop(number)
    }
}
