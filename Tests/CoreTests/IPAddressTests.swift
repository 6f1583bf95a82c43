import Core
import Testing

@Suite struct IPAddressTests {
    @Test(
        "only loopback addresses are loopback",
        arguments: [
            ("127.0.0.1", true), ("127.255.0.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("0.0.0.0", false),
            ("::", false), ("128.0.0.1", false), ("::2", false), ("10.0.0.1", false), ("fe80::1%lo", false),
        ])
    func loopback(_ text: String, _ isLoopback: Bool) throws {
        #expect(try #require(IPAddress(text)).isLoopback == isLoopback)
    }

    @Test(
        "what is not an address is none",
        arguments: ["", "localhost", "127.1", "1.2.3.4.5", "0x7f.0.0.1", "[::1]", "1.2.3.4/8"])
    func notAnAddress(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(
        "a range holds the addresses that share its prefix",
        arguments: [
            ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.0", false), ("10.0.0.4", "10.0.0.4", true),
            ("10.0.0.4", "10.0.0.5", false), ("10.0.0.0/23", "10.0.1.255", true), ("10.0.0.0/23", "10.0.2.0", false),
            ("0.0.0.0/0", "9.9.9.9", true), ("0.0.0.0/0", "2001:db8::1", false), ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true), ("2001:db8::/33", "2001:db8:8000::1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ])
    func ranges(_ range: String, _ address: String, _ isInside: Bool) throws {
        let range = try #require(AddressRange(range))
        #expect(range.contains(try #require(IPAddress(address))) == isInside)
    }

    @Test(
        "a malformed range is refused",
        arguments: ["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "a/8", "10.0.0.0/8/8"])
    func malformedRange(_ text: String) {
        #expect(AddressRange(text) == nil)
    }
}
