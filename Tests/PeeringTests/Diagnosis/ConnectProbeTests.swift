import Core
import Glibc
import Testing

@testable import Peering

@Suite struct ConnectProbeTests {
    /// A listening TCP socket at a free port of loopback; closed by the caller.
    private func listener() throws -> (descriptor: Int32, port: Int) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let address = SocketAddress(.loopback, port: 0)
        try #require(address.withSystem { bind(descriptor, $0, $1) } == 0)
        try #require(listen(descriptor, 8) == 0)
        var form = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let port = withUnsafeMutablePointer(to: &form) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0 ? SocketAddress($0)?.port : nil
            }
        }
        return (descriptor, try #require(port))
    }

    @Test func `Open, closed and impossible addresses are told apart, in order`() async throws {
        let open = try listener()
        let closed = try listener()
        close(closed.descriptor)
        defer { close(open.descriptor) }
        let outcomes = await ConnectProbe.connect(to: [
            NetworkAddress(host: "127.0.0.1", port: closed.port), NetworkAddress(host: "127.0.0.1", port: open.port),
            NetworkAddress(host: "not an address", port: 1), NetworkAddress(host: "255.255.255.255", port: 1),
        ])
        #expect(outcomes == [.refused, .reached, .notTried, .unreachable])
    }

    @Test func `An address that swallows everything costs the patience and no more`() async throws {
        // With its queue full, a listening socket answers no further connection.
        let full = try listener()
        defer { close(full.descriptor) }
        try #require(listen(full.descriptor, 0) == 0)
        let address = NetworkAddress(host: "127.0.0.1", port: full.port)
        var held: [Int32] = []
        defer { for descriptor in held { close(descriptor) } }
        for _ in 0..<4 {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
            _ = SocketAddress(.loopback, port: full.port).withSystem { connect(descriptor, $0, $1) }
            held.append(descriptor)
        }
        let outcomes = await ConnectProbe.connect(to: [address], patience: .milliseconds(300))
        #expect(outcomes == [.timedOut])
    }

    @Test func `For a peer only its own address and private ones are tried, and never loopback`() async throws {
        let open = try listener()
        defer { close(open.descriptor) }
        let question = DiagnosisQuestion(
            addresses: [
                NetworkAddress(host: "8.8.8.8", port: 53), NetworkAddress(host: "127.0.0.1", port: open.port),
            ], clock: 0)
        let stranger = await PeerDoctor.answer(
            question, from: NetworkAddress(host: "10.0.0.1", port: 1), heard: [], version: "1")
        #expect(stranger.reached.map(\.outcome) == [.notTried, .notTried])
        // Instances on one machine are linked over loopback.
        let neighbour = await PeerDoctor.answer(
            question, from: NetworkAddress(host: "127.0.0.1", port: 1), heard: [], version: "1")
        #expect(neighbour.reached.map(\.outcome) == [.notTried, .reached])
    }
}
