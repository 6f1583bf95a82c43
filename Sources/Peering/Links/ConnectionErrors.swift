import Core
import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// What the system and the TLS library say, in the words that the peers page shows.
enum ConnectionErrors {
    /// Why no connection came about.
    static func failure(of error: any Error, at address: NetworkAddress) -> LinkFailure {
        switch error {
        case let error as LinkFailure: return error
        case let error as NIOConnectionError:
            let failures = error.connectionErrors.map { failure(of: $0.error, at: address) }
            // Of several addresses the one that went furthest says most.
            let order: [LinkFailure.Reason] = [.refused, .timedOut, .unreachable]
            for reason in order {
                if let failure = failures.first(where: { $0.reason == reason }) { return failure }
            }
            return LinkFailure(
                .unreachable, "the name \(address.host) is not known here; is it written right, and does DNS know it?")
        case ChannelError.connectTimeout:
            return LinkFailure(
                .timedOut, "\(address) does not answer: the host is off, or a firewall drops TCP port \(address.port)")
        case let error as IOError where error.errnoCode == ECONNREFUSED:
            return LinkFailure(
                .refused,
                "nobody listens on \(address): igris-runtime does not run there, or not on this port and address")
        case let error as IOError where error.errnoCode == ETIMEDOUT:
            return LinkFailure(.timedOut, "\(address) does not answer")
        case is IOError:
            return LinkFailure(.unreachable, "there is no way to \(address); are both hosts on one network?")
        default:
            return LinkFailure(.unreachable, "\(address) cannot be connected with")
        }
    }

    /// Why an open connection led to nothing. `isSecure`: the handshake had ended on this side.
    static func failure(
        of error: any Error, at address: NetworkAddress, _ handshake: Handshake, isSecure: Bool
    ) -> LinkFailure {
        if let error = error as? LinkFailure { return error }
        if isSecure {
            // In TLS 1.3 this side is done first; that ours was refused comes as the first thing afterwards.
            return error is BoringSSLError
                ? LinkFailure(
                    .keyMismatch, "\(address) does not take this host's certificate: it holds another swarm key")
                : LinkFailure(.closed, "\(address) closed the connection before it was a link")
        }
        switch handshake.verdict {
        case .foreign:
            return LinkFailure(
                .keyMismatch,
                "the host at \(address) belongs to another swarm: give both the same key (igris-runtime swarm join)")
        case .stranger:
            return LinkFailure(
                .notIgris, "what listens on \(address) is no igris-runtime: it shows a certificate of its own")
        case .member, .none:
            break
        }
        switch error {
        case is NIOSSLError, is BoringSSLError:
            return LinkFailure(
                .notIgris, "what listens on \(address) does not speak TLS 1.3 as an igris-runtime in a swarm does")
        default:
            return LinkFailure(.closed, "\(address) closed the connection before the TLS handshake was done")
        }
    }
}
