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
    /// The connection itself, for what takes it over (``WebSocketUpgrade``). Nil in tests without one.
    let channel: (any Channel)?

    private struct State {
        var isGone = false
        var isSecure = false
        var certificate: PeerCertificate?
        var nextWaiter: UInt64 = 0
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    }

    private let state = Mutex(State())

    init(peer: IPAddress?, local: IPAddress?, channel: (any Channel)? = nil) {
        self.peer = peer
        self.local = local
        self.channel = channel
    }

    /// The TLS handshake is done, before any request.
    func handshakeEnded(with certificate: PeerCertificate?) {
        state.withLock { state in
            state.isSecure = true
            state.certificate = certificate
        }
    }

    /// The connection is encrypted.
    var isSecure: Bool { state.withLock { $0.isSecure } }
    /// Who of the swarm is at the other end. Nil for everyone who showed no certificate of this swarm.
    var certificate: PeerCertificate? { state.withLock { $0.certificate } }

    /// The client closed its side, or the connection broke.
    func markGone() {
        let waiters = state.withLock { state in
            state.isGone = true
            defer { state.waiters = [:] }
            return state.waiters
        }
        for waiter in waiters.values { waiter.resume() }
    }

    var isGone: Bool { state.withLock { $0.isGone } }

    /// Runs `work`, and cancels it as soon as the client has gone.
    ///
    /// - Throws: `CancellationError` when the client has gone; what `work` throws otherwise.
    func whilePresent<Value: Sendable>(_ work: @escaping @Sendable () async throws -> Value) async throws -> Value {
        try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask { try await work() }
            group.addTask {
                await self.gone()
                throw CancellationError()
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
    }

    /// Returns when the client has gone or the task is cancelled.
    private func gone() async {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // Cancellation may have come before the continuation; its handler then found nothing to resume.
                let isOver = state.withLock { state in
                    if state.isGone || Task.isCancelled { return true }
                    state.waiters[id] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }
}
