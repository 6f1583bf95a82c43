import Core
import NIOCore
import NIOSSL
import NIOTLS

/// One TLS handshake: what the other side's certificate was found to be, and how it ended. Lives on one event loop.
final class Handshake {
    private let trust: LinkTrust
    private(set) var verdict = PeerVerdict.none

    init(_ trust: LinkTrust) { self.trust = trust }

    private func verify(_ chain: [NIOSSLCertificate], _ promise: EventLoopPromise<NIOSSLVerificationResult>) {
        verdict = trust.judge(chain)
        if case .member = verdict { promise.succeed(.certificateVerified) } else { promise.succeed(.failed) }
    }

    /// Who the other side has proved to be. Nil for one that showed no certificate.
    var peer: PeerCertificate? {
        if case .member(let certificate) = verdict { certificate } else { nil }
    }

    func serverHandler() -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: trust.server) { self.verify($0, $1) }
    }

    func clientHandler(_ membership: LinkTrust.Membership) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(context: membership.client, serverHostname: membership.serverName) {
            self.verify($0, $1)
        }
    }
}

/// Stands behind TLS on an accepted connection until the handshake is done, and tells how it went.
final class HandshakeWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let handshake: Handshake
    private let promise: EventLoopPromise<PeerCertificate?>
    private var isDone = false

    init(_ handshake: Handshake, _ promise: EventLoopPromise<PeerCertificate?>) {
        self.handshake = handshake
        self.promise = promise
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event {
            end(.success(handshake.peer))
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(.failure(error)) }

    func channelInactive(context: ChannelHandlerContext) {
        end(.failure(ChannelError.eof))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end(.failure(ChannelError.eof)) }

    private func end(_ result: Result<PeerCertificate?, any Error>) {
        guard !isDone else { return }
        isDone = true
        promise.completeWith(result)
    }
}
