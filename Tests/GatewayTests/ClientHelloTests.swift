import Core
import Testing

@testable import Gateway

@Suite struct ClientHelloTests {
    private static func numbered(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
        (0..<count).reversed().map { UInt8(truncatingIfNeeded: bytes.count >> ($0 * 8)) } + bytes
    }

    /// What a client says first: a session, two ciphers, and another extension before the name.
    static func hello(_ name: String?, after other: Int = 10) -> [UInt8] {
        var extensions = [0xFF, 0x01] + numbered([UInt8](repeating: 7, count: other), 2)
        if let name { extensions += [0, 0] + numbered(numbered([0] + numbered(Array(name.utf8), 2), 2), 2) }
        let body =
            [3, 3] + [UInt8](repeating: 9, count: 32) + numbered([UInt8](repeating: 1, count: 32), 1)
            + numbered([0x13, 1, 0x13, 2], 2) + [1, 0] + numbered(extensions, 2)
        return [1] + numbered(body, 3)
    }

    static func records(_ message: [UInt8], of size: Int = 16_384) -> [UInt8] {
        stride(from: 0, to: message.count, by: size).flatMap {
            [22, 3, 1] + numbered(Array(message[$0..<min($0 + size, message.count)]), 2)
        }
    }

    @Test(
        "the name that is asked for is found, however the message is cut into records",
        arguments: [16_384, 300, 64, 5, 1])
    func name(_ size: Int) {
        #expect(ClientHello.read(Self.records(Self.hello("Ab12.IGRIS"), of: size)) == .name("ab12.igris"))
        #expect(ClientHello.read(Self.records(Self.hello(nil), of: size)) == .name(nil))
    }

    @Test("until all is there it says how much must come before it is worth looking again")
    func parts() {
        let bytes = Self.records(Self.hello("host.example"), of: 40)
        for count in 1..<bytes.count {
            guard case .needsMore(let wanted) = ClientHello.read(Array(bytes.prefix(count))) else {
                Issue.record("\(count) bytes were enough")
                return
            }
            #expect(wanted > count && wanted <= bytes.count)
        }
        #expect(ClientHello.read(bytes) == .name("host.example"))
    }

    @Test("what comes behind it, in the same segment, changes nothing")
    func behind() {
        let bytes = Self.records(Self.hello("ab12.igris")) + [UInt8](repeating: 0x17, count: 20_000)
        #expect(ClientHello.read(bytes) == .name("ab12.igris"))
        #expect(ClientHello.read(Array(bytes.prefix(ClientHello.longest + 1))) == .name("ab12.igris"))
    }

    @Test("what is no such message is left to the TLS library at once")
    func strange() {
        for bytes: [UInt8] in [
            [22, 3, 1, 0, 0], [22, 3, 1, 0xFF, 0xFF, 1], [22, 3, 1, 0, 5, 2, 0, 0, 1, 0], [22, 3, 1, 0, 5, 2],
            Self.records([1, 0, 0, 1, 0]),
        ] {
            #expect(ClientHello.read(bytes) == .name(nil), "\(bytes)")
        }
    }

    @Test("rubbish of any kind ends, and never asks for more than it may get")
    func rubbish() {
        var random = SystemRandomNumberGenerator()
        let good = Self.records(Self.hello("ab12.igris"))
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            if case .needsMore(let count) = ClientHello.read(bytes) { #expect(count > bytes.count) }
        }
        #expect(
            ClientHello.read(Self.records([1, 0xFF, 0xFF, 0xFF] + [UInt8](repeating: 0, count: 20_000))) == .name(nil))
    }
}
