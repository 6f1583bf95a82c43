import Core
import Glibc

/// Where the daemon is going to listen.
struct ListeningAddress {
    let host: String
    let port: Int

    /// Looks whether another program listens there, before any file is made: the same daemon started twice must leave
    /// nothing behind. Throws ``RuntimeError`` `.configuration`. What else may be wrong is told when the gateway binds.
    func requireFree() throws(RuntimeError) {
        guard port > 0, let port = UInt16(exactly: port) else { return }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        // Names and IPv6 addresses are left to the gateway.
        guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { return }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var reuse: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result != 0, errno == EADDRINUSE {
            throw RuntimeError(
                .configuration,
                "port \(port) is in use by another program; stop that one, or choose another port with --port or "
                    + "server.port")
        }
    }
}
