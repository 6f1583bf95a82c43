import Core
import Testing

@Suite struct AddressRangeTests {
    @Test(
        "Addresses and blocks are read and written in one form",
        arguments: [
            ("10.0.0.0/8", "10.0.0.0/8"), ("192.168.1.7", "192.168.1.7/32"), ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1/128"),
            ("FD00::/8", "fd00::/8"), ("fe80:0:0::/10", "fe80::/10"), ("10.1.2.3/9", "10.0.0.0/9"), ("::/0", "::/0"),
        ])
    func valid(text: String, canonical: String) {
        #expect(AddressRange(text)?.description == canonical)
    }

    @Test(
        "Anything else is none",
        arguments: [
            "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0/8", "10.0.0.0/8/8", "::/129",
            "a", "1",
            "::1%lo", "10.0.0.0\u{00}", "010.0.0.1", "10.0.0.0/٣", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104",
            " 10.0.0.1",
        ])
    func invalid(text: String) {
        #expect(AddressRange(text) == nil)
    }

    @Test(
        "Bits beyond the prefix are noticed",
        arguments: [("10.0.0.0/8", false), ("10.0.0.1/8", true), ("10.0.0.1", false)])
    func hostBits(text: String, expected: Bool) {
        #expect(AddressRange.hasHostBits(text) == expected)
    }
}
