import Testing

@testable import Peering

@Suite struct ScopedAddressTests {
    @Test(arguments: [
        ("127.0.0.1", true, true), ("10.1.2.3", true, false), ("172.32.0.1", false, false),
        ("192.168.0.1", true, false), ("100.64.0.1", true, false), ("8.8.8.8", false, false), ("::1", true, true),
        ("fe80::1", true, false), ("fd00::1", true, false), ("2001:db8::1", false, false),
        ("169.254.1.1", true, false),
    ])
    func `Private ranges and loopback are known`(text: String, isPrivate: Bool, isLoopback: Bool) throws {
        let address = try #require(ScopedAddress(text))
        #expect(address.isPrivate == isPrivate)
        #expect(address.isLoopback == isLoopback)
        #expect(address.description == text)
    }

    @Test func `A zone stays with link-local addresses only`() throws {
        #expect(ScopedAddress("fe80::1%lo")?.description == "fe80::1%lo")
        #expect(ScopedAddress("fd00::1%lo")?.description == "fd00::1")
    }

    @Test(arguments: ["", "host", "1.2.3", "1.2.3.4.5", "::g", "1.2.3.4\0", "[::1]"])
    func `Anything else is no address`(text: String) { #expect(ScopedAddress(text) == nil) }

    @Test func `A system's form is read back`() throws {
        for text in ["10.0.0.7", "fd00::7", "fe80::1%lo"] {
            let address = SocketAddress(try #require(ScopedAddress(text)), port: 4_711)
            #expect(address.withSystem { pointer, _ in SocketAddress(pointer) } == address)
        }
    }

    @Test func `Neighbours share a prefix`() throws {
        let one = try #require(ScopedAddress("10.1.2.3"))
        #expect(one.shares(24, with: try #require(ScopedAddress("10.1.2.200"))))
        #expect(!one.shares(25, with: try #require(ScopedAddress("10.1.2.200"))))
        #expect(!one.shares(0, with: try #require(ScopedAddress("::1"))))
    }

    @Test(arguments: [
        ("0.0.0.0", ["127.0.0.1", "10.0.0.1"]), ("::", ["127.0.0.1", "10.0.0.1", "fd00::1"]),
        ("127.0.0.1", ["127.0.0.1"]), ("localhost", ["127.0.0.1"]), ("10.0.0.1", ["10.0.0.1"]),
        ("[fd00::1]", ["fd00::1"]), ("192.168.9.9", []),
    ])
    func `A server is announced where it listens`(host: String, expected: [String]) {
        let interface = NetworkInterface(
            name: "x", index: 1, isUp: true, isRunning: true, isLoopback: false, hasMulticast: true,
            isPointToPoint: false,
            addresses: ["127.0.0.1", "10.0.0.1", "fd00::1"].compactMap { ScopedAddress($0) }.map {
                NetworkInterface.Address(address: $0, prefixLength: 24)
            })
        #expect(Reach(host: host).addresses(of: interface).map(\.description) == expected)
    }
}
