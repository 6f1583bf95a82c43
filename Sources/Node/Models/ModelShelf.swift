import Core

/// Which models are in memory: loaded when somebody asks, let go when nobody has asked for a while, and never more of
/// them than the budget has room for. A pure machine: events and the time go in, actions come out.
///
/// What a model takes is estimated before its load and measured afterwards; the larger of the two counts. Where a model
/// does not fit, idle ones go, those used the longest ago first. One with running answers never goes, nor one that is
/// set up to stay: then the request is refused, and told what holds the memory.
struct ModelShelf: Sendable {
    typealias Instant = ContinuousClock.Instant
    /// One model's number on the shelf; never used again.
    typealias Place = Int
    typealias Request = UInt64

    enum Phase: Hashable, Sendable {
        case unloaded
        /// Waits for room.
        case wanted
        case loading
        case loaded
        case unloading
        case failed(reason: String, until: Instant)
    }

    /// Why a request is turned away.
    struct Refusal: Hashable, Sendable {
        var code = RuntimeError.Code.unavailable
        var message: String
        var retryAfter: Duration?
    }

    enum Action: Hashable, Sendable {
        case load(Place)
        case unload(Place, reason: UnloadReason)
        /// It may use the model until ``ModelShelf/released(_:keepAlive:at:)``.
        case admit(Request, Place)
        case refuse(Request, Refusal)
        /// Replaces the model's earlier timer.
        case schedule(Place, token: UInt64, after: Duration)
        /// It was taken off the shelf, and has ended.
        case forget(Place)
    }

    enum UnloadReason: String, Hashable, Sendable {
        case idle
        case asked
        /// Another one needs its memory.
        case evicted
        case removed
    }

    struct Book: Sendable {
        let name: String
        let keepAlive: KeepAlive
        let loadsAtStart: Bool
        fileprivate(set) var phase = Phase.unloaded
        fileprivate(set) var users = 0
        fileprivate(set) var waiting: [Request] = []
        /// When it goes if nobody asks for it.
        fileprivate(set) var expires: Instant?
        fileprivate(set) var estimate = 0
        fileprivate(set) var measured = 0
        /// A client's wish; it holds until the model is unloaded.
        fileprivate var wish: KeepAlive?
        fileprivate var lastUsed: Instant
        fileprivate var token: UInt64 = 0
        fileprivate var isRemoved = false

        /// It is set up to stay: no wish and no other model moves it.
        var isPinned: Bool { keepAlive == .forever && !isRemoved }
        /// What it takes, or will take.
        var charge: Int { max(estimate, measured) }
        fileprivate var isIdle: Bool { phase == .loaded && users == 0 }
        fileprivate var takesMemory: Bool { phase == .loading || phase == .loaded || phase == .unloading }
        fileprivate var stay: KeepAlive { isRemoved ? .unloaded : isPinned ? .forever : wish ?? keepAlive }
    }

    /// Bytes.
    let budget: Int
    private(set) var books: [Place: Book] = [:]
    /// Those that wait for room, in the order of their first request.
    private var wanted: [Place] = []
    private var isStopped = false

    init(budget: Int) { self.budget = budget }

    /// What the models in memory take together.
    var held: Int { books.values.filter(\.takesMemory).reduce(0) { Self.sum($0, $1.charge) } }

    // MARK: What is there

    mutating func added(_ place: Place, name: String, keepAlive: KeepAlive, loadsAtStart: Bool, at now: Instant) {
        books[place] = Book(name: name, keepAlive: keepAlive, loadsAtStart: loadsAtStart, lastUsed: now)
    }

    /// Running answers may end; nobody new comes in.
    mutating func removed(_ place: Place, at now: Instant) -> [Action] {
        guard let book = books[place], !book.isRemoved else { return [] }
        books[place]?.isRemoved = true
        let refusals = refuseWaiting(place, Refusal(code: .modelNotFound, message: "\(book.name) was removed"))
        switch book.phase {
        case .unloaded, .wanted, .failed:
            wanted.removeAll { $0 == place }
            books[place] = nil
            return refusals + [.forget(place)]
        case .loaded where book.users == 0: return refusals + [unload(place, .removed)]
        // The load's end, the last answer's or the unloading's comes to this, too.
        case .loading, .loaded, .unloading: return refusals
        }
    }

    /// Everyone who waits is turned away, and nothing is loaded any more.
    mutating func stopped() -> [Action] {
        isStopped = true
        wanted = []
        return books.keys.sorted().flatMap { place in
            refuseWaiting(place, Refusal(message: "the model \(books[place]?.name ?? "") is being stopped"))
        }
    }

    // MARK: Requests

    /// - Parameter estimate: what a load would take, where the model is not loaded.
    mutating func requested(_ request: Request, of place: Place, estimate: Int = 0, at now: Instant) -> [Action] {
        guard let book = books[place], !book.isRemoved, !isStopped else {
            return [.refuse(request, Refusal(message: "the model is being stopped"))]
        }
        books[place]?.lastUsed = now
        switch book.phase {
        case .loaded:
            return [admit(request, to: place)]
        case .failed(let reason, let until) where now < until:
            return [.refuse(request, Refusal(message: reason, retryAfter: until - now))]
        case .unloaded, .failed:
            // Where nothing is known beforehand, what it took the last time counts.
            if estimate > 0 { books[place]?.estimate = estimate }
            books[place]?.phase = .wanted
            wanted.append(place)
        case .wanted, .loading, .unloading: break
        }
        guard book.waiting.count < Limits.queuedRequestsPerModel else {
            return [
                .refuse(
                    request,
                    Refusal(
                        code: .overloaded, message: "\(book.waiting.count) requests wait for \(book.name) already",
                        retryAfter: .seconds(1)))
            ]
        }
        books[place]?.waiting.append(request)
        return settle()
    }

    /// Nobody waits for the answer any more. The load goes on: others may come.
    mutating func abandoned(_ request: Request, of place: Place) {
        books[place]?.waiting.removeAll { $0 == request }
    }

    /// An admitted request is over.
    mutating func released(_ place: Place, keepAlive: KeepAlive?, at now: Instant) -> [Action] {
        guard let book = books[place], book.users > 0 else { return [] }
        books[place]?.users -= 1
        books[place]?.lastUsed = now
        if let keepAlive { books[place]?.wish = keepAlive }
        return book.users == 1 ? rest(place, at: now) : []
    }

    /// A client wants it gone as soon as nobody uses it.
    mutating func dismissed(_ place: Place, at now: Instant) -> [Action] {
        guard let book = books[place], book.phase != .unloaded, book.phase != .unloading else { return [] }
        books[place]?.wish = .unloaded
        return book.isIdle ? rest(place, at: now) : []
    }

    // MARK: The engine

    mutating func loaded(_ place: Place, measured: Int?, at now: Instant) -> [Action] {
        guard let book = books[place], book.phase == .loading else { return [] }
        books[place]?.phase = .loaded
        books[place]?.waiting = []
        books[place]?.measured = measured ?? 0
        let admissions = book.waiting.map { admit($0, to: place) }
        return (admissions.isEmpty ? rest(place, at: now) : admissions) + settle()
    }

    mutating func loadFailed(_ place: Place, reason: String, retryAfter: Duration, at now: Instant) -> [Action] {
        guard let book = books[place], book.phase == .loading else { return [] }
        if book.isRemoved {
            books[place] = nil
            return [.forget(place)] + settle()
        }
        books[place]?.phase = .failed(reason: reason, until: now + retryAfter)
        books[place]?.wish = nil
        let refusals = refuseWaiting(place, Refusal(message: reason, retryAfter: retryAfter))
        return refusals + [schedule(place, after: retryAfter)] + settle()
    }

    mutating func unloaded(_ place: Place, at now: Instant) -> [Action] {
        guard let book = books[place], book.phase == .unloading else { return [] }
        if book.isRemoved {
            books[place] = nil
            return [.forget(place)] + settle()
        }
        books[place]?.phase = book.waiting.isEmpty ? .unloaded : .wanted
        books[place]?.wish = nil
        // What it took is the best estimate of what it will take.
        books[place]?.estimate = book.charge
        books[place]?.measured = 0
        if !book.waiting.isEmpty { wanted.append(place) }
        return settle()
    }

    mutating func measured(_ place: Place, bytes: Int) {
        guard books[place]?.phase == .loaded else { return }
        books[place]?.measured = bytes
    }

    mutating func expired(_ place: Place, token: UInt64, at now: Instant) -> [Action] {
        guard let book = books[place], book.token == token else { return [] }
        if book.isIdle { return [unload(place, .idle)] }
        guard case .failed = book.phase else { return [] }
        books[place]?.phase = .unloaded
        guard book.loadsAtStart, !isStopped else { return [] }
        books[place]?.phase = .wanted
        wanted.append(place)
        return settle()
    }

    // MARK: Parts

    private mutating func admit(_ request: Request, to place: Place) -> Action {
        books[place]?.users += 1
        books[place]?.expires = nil
        books[place]?.token += 1
        return .admit(request, place)
    }

    /// Nobody uses it any more.
    private mutating func rest(_ place: Place, at now: Instant) -> [Action] {
        guard let book = books[place], book.isIdle, !isStopped else { return [] }
        // Others may be waiting for just this.
        switch book.stay {
        case .forever:
            books[place]?.expires = nil
            return settle()
        case .unloaded: return [unload(place, book.isRemoved ? .removed : .asked)]
        case .loaded(let duration):
            books[place]?.expires = now + duration
            return [schedule(place, after: duration)] + settle()
        }
    }

    private mutating func unload(_ place: Place, _ reason: UnloadReason) -> Action {
        books[place]?.phase = .unloading
        books[place]?.expires = nil
        books[place]?.token += 1
        return .unload(place, reason: reason)
    }

    private mutating func schedule(_ place: Place, after delay: Duration) -> Action {
        books[place]?.token += 1
        return .schedule(place, token: books[place]?.token ?? 0, after: delay)
    }

    private mutating func refuseWaiting(_ place: Place, _ refusal: Refusal) -> [Action] {
        let waiting = books[place]?.waiting ?? []
        books[place]?.waiting = []
        return waiting.map { .refuse($0, refusal) }
    }

    /// Loads what fits, makes room for what does not, and turns away what no room can be made for.
    private mutating func settle() -> [Action] {
        var actions: [Action] = []
        for place in wanted {
            guard let book = books[place], book.phase == .wanted else {
                wanted.removeAll { $0 == place }
                continue
            }
            if Self.sum(held, book.charge) <= budget {
                books[place]?.phase = .loading
                wanted.removeAll { $0 == place }
                actions.append(.load(place))
                continue
            }
            // What is on its way out counts as gone: its end comes back here.
            var staying = books.values.filter { $0.phase == .loading || $0.phase == .loaded }
                .reduce(0) { Self.sum($0, $1.charge) }
            var victims: [Place] = []
            for (candidate, other) in books.sorted(by: { ($0.value.lastUsed, $0.key) < ($1.value.lastUsed, $1.key) })
            where other.isIdle && !other.isPinned && Self.sum(staying, book.charge) > budget {
                victims.append(candidate)
                staying -= other.charge
            }
            if Self.sum(staying, book.charge) <= budget {
                actions += victims.map { unload($0, .evicted) }
            } else {
                books[place]?.phase = .unloaded
                wanted.removeAll { $0 == place }
                actions += refuseWaiting(place, noRoom(for: book))
            }
        }
        return actions
    }

    private func noRoom(for book: Book) -> Refusal {
        let need = "the model \(book.name) needs about \(Self.shown(book.charge)) of memory"
        guard book.charge <= budget else {
            return Refusal(
                message:
                    "\(need), and all models together may take \(Self.shown(budget)) (node.models_memory): use a smaller "
                    + "one, or a smaller context")
        }
        let holders = books.values.filter(\.takesMemory).sorted { $0.name < $1.name }.map { other in
            let why = other.isPinned ? "kept for ever" : other.users > 0 ? "answering" : "loading"
            return "\(other.name) \(Self.shown(other.charge)) (\(why))"
        }
        return Refusal(
            message: "\(need), and of the \(Self.shown(budget)) for models (node.models_memory) too much is held by "
                + "\(holders.joined(separator: ", ")); try again when it has ended",
            retryAfter: .seconds(5))
    }

    /// `1.4 GiB`
    static func shown(_ bytes: Int) -> String {
        let mebibytes = (Double(bytes) / 1_048_576 * 10).rounded() / 10
        guard mebibytes >= 1_024 else { return "\(mebibytes) MiB" }
        return "\((mebibytes / 1_024 * 10).rounded() / 10) GiB"
    }

    private static func sum(_ left: Int, _ right: Int) -> Int {
        let (sum, overflows) = left.addingReportingOverflow(right)
        return overflows ? .max : sum
    }
}
