import Core
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Both ends of a tunnel within this machine: sockets that only loopback reaches.
enum Loopback {
    typealias Listener = NIOAsyncChannel<AcceptedConnection, Never>

    static let host = "127.0.0.1"

    /// Takes any free port.
    static func listen() async throws -> Listener {
        try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 16)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .bind(host: host, port: 0) { channel in
                channel.eventLoop.makeCompletedFuture {
                    AcceptedConnection(try TunnelPump.Connection(wrappingChannelSynchronously: channel))
                }
            }
    }

    static func connect(port: Int) async throws -> TunnelPump.Connection {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(TimeAmount(Limits.linkConnect))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try TunnelPump.Connection(wrappingChannelSynchronously: channel)
                }
            }
    }

    /// Whether a connection that was accepted comes from a process of this daemon's user: whoever else is logged in
    /// here must not get at another host's worker.
    static func isOurs(_ connection: TunnelPump.Connection) -> Bool {
        guard let near = connection.channel.remoteAddress?.port, let far = connection.channel.localAddress?.port,
            let table = read("/proc/net/tcp")
        else { return false }
        return SystemTables.owner(table, ofConnectionFrom: near, to: far) == Int(getuid())
    }

    /// The kernel makes the text as it is read; there is no disk to wait for.
    private static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while text.count < Limits.systemTableBytes {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            text += buffer[..<count]
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// A connection on its way from the listener to whoever takes it. NIO traps where an open connection is let go: those
/// that nobody has taken when the listener ends are closed here.
final class AcceptedConnection: Sendable {
    private let connection: Mutex<TunnelPump.Connection?>

    init(_ connection: TunnelPump.Connection) { self.connection = Mutex(connection) }

    /// Once: who takes it closes it.
    func take() -> TunnelPump.Connection? { connection.withLock { $0.take() } }

    deinit {
        guard let connection = take() else { return }
        Task { await connection.drop() }
    }
}

extension NIOAsyncChannel where Inbound: Sendable, Outbound: Sendable {
    /// Closes a connection of which nothing was used.
    func drop() async {
        try? await executeThenClose { _, _ in }  // closed already is as good
    }
}
