import Glibc
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix

/// The same routes on a UNIX socket, for the daemon's own user: what its verbs use where the port takes other addresses
/// only. Nobody else may open the file, and the kernel is asked who has.
struct AdminSocket: Sendable {
    let path: String
    let channel: GatewayChannel
    let log: Logger

    /// Serves until the task is cancelled. Returns at once where that cannot be done: the port is all there is then.
    func run() async {
        // Its cancellation, with which each life ends, is an error to the server.
        var silent = log
        silent.logLevel = .critical
        let server = Server(
            childChannelSetup: channel, configuration: ServerConfiguration(address: .unixDomainSocket(path: path)),
            onServerRunning: { [path] listener in
                await AcceptPause.add(to: listener) { false }
                // Between the two the folder keeps others out, and the kernel's word does in any case.
                chmod(path, 0o600)
            }, eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: silent)
        // Detached, and cancelled with this one: see ``Gateway``.
        let running = Task.detached { try await server.run() }
        await withTaskCancellationHandler {
            do {
                try await running.value
                if !Task.isCancelled { log.warning("the daemon's socket was closed; its port serves on") }
            } catch {
                if !Task.isCancelled {
                    log.warning("the daemon's socket cannot be served", metadata: ["error": "\(error)"])
                }
            }
        } onCancel: {
            running.cancel()
        }
        unlink(path)
    }

    /// Whether the process at the other end belongs to this daemon's user, or to root.
    static func isOwnUser(at channel: any Channel) -> EventLoopFuture<Bool> {
        guard let options = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(false)
        }
        let peer: EventLoopFuture<Credentials> = options.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: CInt(SO_PEERCRED)))
        return peer.map { $0.user == geteuid() || $0.user == 0 }.recover { _ in false }
    }

    /// `struct ucred`, which the C library shows to GNU programs only.
    private struct Credentials: Sendable {
        var process: pid_t
        var user: uid_t
        var group: gid_t
    }
}
