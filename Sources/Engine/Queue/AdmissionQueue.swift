/// Which requests run and which wait: at most `slots` run, the others follow in their order of arrival, and only so
/// many may wait. A pure value; both drivers use it.
struct AdmissionQueue: Sendable {
    enum Admission: Hashable, Sendable {
        case runs
        case waits
        /// Too many wait already.
        case refused
    }

    /// How many run at once; 0 while the engine is not ready. Fewer slots end no running request.
    var slots: Int
    let maximumWaiting: Int
    private(set) var running: Set<RequestID> = []
    private(set) var waiting: [RequestID] = []

    init(slots: Int, maximumWaiting: Int) {
        self.slots = slots
        self.maximumWaiting = maximumWaiting
    }

    mutating func enter(_ id: RequestID) -> Admission {
        if waiting.isEmpty, running.count < slots {
            running.insert(id)
            return .runs
        }
        guard waiting.count < maximumWaiting else { return .refused }
        waiting.append(id)
        return .waits
    }

    /// Takes a request out, wherever it is.
    mutating func leave(_ id: RequestID) {
        if running.remove(id) == nil { waiting.removeAll { $0 == id } }
    }

    /// Puts a running request back to the head of those that wait.
    mutating func postpone(_ id: RequestID) {
        guard running.remove(id) != nil else { return }
        waiting.insert(id, at: 0)
    }

    /// Moves the next waiting requests to free slots; the caller starts them.
    mutating func advance() -> [RequestID] {
        let free = max(0, slots - running.count)
        let next = Array(waiting.prefix(free))
        waiting.removeFirst(next.count)
        running.formUnion(next)
        return next
    }
}
