package import Core

/// What the roof asks of requests that are answered in the background. Whatever belongs to someone else is `.notFound`.
package protocol RequestServices: Sendable {
    /// Takes a request. Returns once it is in the log, and other hosts have it as far as they do within a moment.
    ///
    /// - Parameter key: the client's idempotency key: the same again is the same request.
    /// - Throws: ``RuntimeError``: `.modelNotFound`; `.unavailable` with ``NoCapableNode`` as its cause; `.overloaded`.
    func open(
        _ order: RequestOrder, messages: [Message], key: String?, caller: Owner
    ) async throws -> RequestReport
    /// How it stands, on whichever host it was opened.
    func request(_ id: Dot, of caller: Owner) async throws -> RequestReport
    /// The caller's, the latest first.
    func requests(of caller: Owner, limit: Int) async throws -> [RequestReport]
    /// Stops it, wherever it runs. Its result is what came so far.
    func cancel(_ id: Dot, of caller: Owner) async throws -> RequestReport
    /// Stops it, and takes what was asked and answered away on every host.
    func delete(_ id: Dot, of caller: Owner) async throws
    /// Wakes when something of it has changed; several changes may be one. Ends with this host's work.
    func changes(of id: Dot) async -> AsyncStream<Void>
    /// What the parts that are written on this host hold, behind so many bytes of each; and the word of its status.
    func progress(of id: Dot, behind told: [Int]) async -> (status: String?, pieces: [(part: Int, text: String)])
    /// The hosts to which a key belongs, the owner first: the same on every host.
    func owners(of key: String, count: Int) async -> [RingOwner]
}

/// A host on the ring.
package struct RingOwner: Hashable, Sendable {
    package var node: NodeID
    package var name: String
    package var isSelf: Bool
}

/// No host has enough of what a request requires.
package struct NoCapableNode: Error {
    package init() {}
}

/// A request as its client sees it.
package struct RequestReport: Sendable {
    package var id: Dot
    package var conversation: ConversationID
    /// Seconds since 1970.
    package var created: Int64
    package var order: RequestOrder
    /// `queued`, `running`, `rerun`, `completed`, `failed`, `cancelled`.
    package var status: String
    /// The host that runs it, or has run it.
    package var host: NodeID?
    /// What stands beside the answer (``RequestResult``); nil while there is none.
    package var result: JSON?
    package var answer: Turn?
    package var trace: JSON
    /// Runs that were begun again because a host was lost.
    package var reruns: Int
    /// Results that came too late to count.
    package var discarded: Int
    /// Stores that hold it, as far as this host knows.
    package var replicas: Int

    package var isOver: Bool { result != nil }

    package init(
        id: Dot, conversation: ConversationID, created: Int64, order: RequestOrder, status: String, host: NodeID?,
        result: JSON?, answer: Turn?, trace: JSON, reruns: Int, discarded: Int, replicas: Int
    ) {
        self.id = id
        self.conversation = conversation
        self.created = created
        self.order = order
        self.status = status
        self.host = host
        self.result = result
        self.answer = answer
        self.trace = trace
        self.reruns = reruns
        self.discarded = discarded
        self.replicas = replicas
    }
}
