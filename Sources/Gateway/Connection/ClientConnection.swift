import Core
import Guardian
import NIOCore
import Synchronization

/// What a request may know of the connection it came on: who is at the other end, and whether they are still there.
final class ClientConnection: Sendable {
    /// Nil where the transport has none.
    let peer: IPAddress?
    /// The address of ours that the client reached.
    let local: IPAddress?
    /// The process at the other end is this daemon's user's, by the word of the kernel (``AdminSocket``).
    let isOwnUser: Bool
    /// The connection itself, for what takes it over (``WebSocketUpgrade``). Nil in tests without one.
    let channel: (any Channel)?

    /// Of the connection's own loop. Nil in tests without one.
    private let executor: LoopExecutor?
    private let departure = Latch()
    /// The name by which a request on this connection was let in last.
    private let knownHost = Mutex<String?>(nil)
    /// Set once the TLS handshake is done; then what it proved.
    private let handshake = Mutex(Handshake())

    private struct Handshake {
        var isDone = false
        var peer: PeerCertificate?
        var client: ClientCertificate?
    }

    init(
        peer: IPAddress?, local: IPAddress?, isOwnUser: Bool = false, channel: (any Channel)? = nil,
        executor: LoopExecutor? = nil
    ) {
        self.executor = executor
        self.isOwnUser = isOwnUser
        self.peer = peer
        self.local = local
        self.channel = channel
    }

    /// The TLS handshake is done, before any request.
    func handshakeEnded(with certificate: PeerCertificate?) {
        handshake.withLock { $0 = Handshake(isDone: true, peer: certificate) }
    }

    func handshakeEnded(with certificate: ClientCertificate?) {
        handshake.withLock { $0 = Handshake(isDone: true, client: certificate) }
    }

    /// The connection is encrypted.
    var isSecure: Bool { handshake.withLock { $0.isDone } }
    /// Who of the swarm is at the other end. Nil for everyone who showed no certificate of this swarm.
    var certificate: PeerCertificate? { handshake.withLock { $0.peer } }
    /// What a client showed of an authority of the settings.
    var clientCertificate: ClientCertificate? { handshake.withLock { $0.client } }

    /// Runs `check` for a name that the last request did not come by.
    func lets(in host: String?, _ check: () throws(RuntimeError) -> Void) throws(RuntimeError) {
        guard host == nil || knownHost.withLock({ $0 != host }) else { return }
        try check()
        knownHost.withLock { $0 = host }
    }

    /// The client closed its side, or the connection broke.
    func markGone() { departure.open() }

    var isGone: Bool { departure.isOpen }

    /// Ends the connection, whatever is under way on it.
    func cutOff() {
        markGone()
        channel?.close(promise: nil)
    }

    /// Sleeps. A timer of the connection's own event loop wakes no thread where it is given up, as most are.
    func pause(_ duration: Duration) async throws {
        guard let loop = channel?.eventLoop else { return try await Task.sleep(for: duration) }
        let timer = loop.scheduleTask(in: TimeAmount(duration)) {}
        do {
            try await withTaskCancellationHandler {
                try await timer.futureResult.get()
            } onCancel: {
                timer.cancel()
            }
        } catch {
            throw CancellationError()
        }
    }

    /// Runs `work`, and cancels it as soon as the client has gone.
    ///
    /// - Throws: `CancellationError` when the client has gone; what `work` throws otherwise.
    func whilePresent<Value: Sendable>(_ work: @escaping @Sendable () async throws -> Value) async throws -> Value {
        // What was begun on the pool stays there.
        try await departure.whileClosed(on: executor.flatMap { $0.isHere ? $0 : nil }, work)
    }
}
