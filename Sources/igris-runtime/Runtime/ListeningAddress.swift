import Core
import Glibc

/// Where the daemon is going to listen.
struct ListeningAddress {
    let host: String
    let port: Int

    /// Looks whether another program listens there, before any file is made: the same daemon started twice must leave
    /// nothing behind. Throws ``RuntimeError`` `.configuration`. What else may be wrong is told when the gateway binds.
    func requireFree() throws(RuntimeError) {
        guard port > 0, var address = resolved() else { return }
        var attempts = 0
        while Self.isTaken(&address) {
            guard attempts < Self.attempts else {
                throw RuntimeError(
                    .configuration,
                    "port \(port) is in use by another program; stop that one, or choose another port with --port or "
                        + "server.port")
            }
            attempts += 1
            usleep(Self.pauseMicroseconds)
        }
    }

    /// Nil for a name: that is left to the gateway.
    private func resolved() -> sockaddr_storage? {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "\(port)", &hints, &found) == 0, let first = found?.pointee else { return nil }
        defer { freeaddrinfo(found) }
        guard let source = first.ai_addr, first.ai_addrlen <= MemoryLayout<sockaddr_storage>.size else { return nil }
        var address = sockaddr_storage()
        memcpy(&address, source, Int(first.ai_addrlen))
        return address
    }

    private static func isTaken(_ address: inout sockaddr_storage) -> Bool {
        let family = Int32(address.ss_family)
        let length = family == AF_INET6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var reuse: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(length)) }
        }
        return result != 0 && errno == EADDRINUSE
    }

    /// A port may outlive its daemon for a moment, as a lock does: an engine's child that has been forked and not yet
    /// become another program shares the socket.
    private static let attempts = 50
    private static let pauseMicroseconds: UInt32 = 20_000
}
