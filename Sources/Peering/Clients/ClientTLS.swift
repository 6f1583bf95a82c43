package import Core
package import Cryptography
package import NIOCore
import NIOSSL
import NIOTLS
import Synchronization

/// TLS with clients: whoever is no host of the swarm. TLS 1.2 and 1.3, HTTP/1.1, and the certificates of
/// ``ClientTLSSource``, read again when their files change.
package final class ClientTLS: Sendable {
    /// What is shown, for those who want to compare it.
    package struct Shown: Hashable, Sendable {
        package var facts: CertificateFacts
        /// PEM; what a client trusts where this host made it for itself.
        package var certificate: String
    }

    private struct State {
        var context: NIOSSLContext
        var shown: Shown
        var stamp: ClientTLSSource.Stamp
        /// The last trouble with files that had changed; nil when they are in use.
        var trouble: RuntimeError?
    }

    private let source: ClientTLSSource
    private let state: Mutex<State>

    /// Throws ``RuntimeError`` `.configuration`, naming the file and the next step.
    package init(_ source: ClientTLSSource) throws(RuntimeError) {
        self.source = source
        let stamp = source.stamp()
        let (context, shown) = try source.load()
        state = Mutex(State(context: context, shown: shown, stamp: stamp))
    }

    package var shown: Shown { state.withLock { $0.shown } }

    /// Why what is in the files now is not in use.
    package var trouble: RuntimeError? { state.withLock { $0.trouble } }

    /// Looks at the files, and takes what is new there for handshakes from now on. Blocks. True where it did.
    ///
    /// - Throws: ``RuntimeError`` where they hold nothing usable: then, once, and what was in use stays so.
    package func refresh() throws(RuntimeError) -> Bool {
        let stamp = source.stamp()
        guard state.withLock({ $0.stamp != stamp }) else { return false }
        do throws(RuntimeError) {
            let (context, shown) = try source.load()
            state.withLock { $0 = State(context: context, shown: shown, stamp: stamp) }
            return true
        } catch {
            state.withLock { state in
                state.stamp = stamp
                state.trouble = error
            }
            throw error
        }
    }

    /// Puts TLS in front of an accepted connection. Succeeds when the handshake is done: with the certificate that the
    /// client showed and that an authority of the settings has signed, DER, or nil where it showed none. Called on the
    /// connection's event loop.
    package func secure(_ channel: any Channel) -> EventLoopFuture<[UInt8]?> {
        let promise = channel.eventLoop.makePromise(of: [UInt8]?.self)
        let handler = NIOSSLServerHandler(context: state.withLock { $0.context })
        do {
            try channel.pipeline.syncOperations.addHandlers(
                [handler, ClientHandshakeWatch(handler, promise)], position: .first)
        } catch {
            promise.fail(error)
        }
        return promise.futureResult
    }
}

/// Stands behind TLS until the handshake is done, and tells how it went.
private final class ClientHandshakeWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let tls: NIOSSLServerHandler
    private var promise: EventLoopPromise<[UInt8]?>?

    init(_ tls: NIOSSLServerHandler, _ promise: EventLoopPromise<[UInt8]?>) {
        self.tls = tls
        self.promise = promise
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case TLSUserEvent.handshakeCompleted = event else {
            return context.fireUserInboundEventTriggered(event)
        }
        do {
            // Also in a session that is taken up again: the library keeps what was verified in the first.
            end(.success(try tls.peerCertificate?.toDERBytes()))
        } catch {
            end(.failure(error))
        }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(.failure(error)) }

    func channelInactive(context: ChannelHandlerContext) {
        end(.failure(ChannelError.eof))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end(.failure(ChannelError.eof)) }

    private func end(_ result: Result<[UInt8]?, any Error>) {
        promise?.completeWith(result)
        promise = nil
    }
}
