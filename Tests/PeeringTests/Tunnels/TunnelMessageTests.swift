import Core
import Testing

@testable import Peering

@Suite struct TunnelMessageTests {
    private static let loan = Bytes16(high: 1, low: 2)

    @Test(
        "What is written is read",
        arguments: [
            TunnelMessage.want(build: "b11669-Debian"), .lent(loan), .connect(loan), .connected, .refused("no"), .beat,
        ])
    func roundTrip(message: TunnelMessage) throws {
        #expect(try TunnelMessage(decoding: message.encoded) == message)
    }

    @Test(
        "What is no message is refused",
        arguments: [
            "", "{}", "[]", "want", #"{"want":"rpc"}"#, #"{"want":"shell","build":"b1"}"#, #"{"lent":"12"}"#,
            #"{"connect":7}"#, #"{"connected":false}"#, "{\"refused\":\"\(String(repeating: "x", count: 5_000))\"}",
        ])
    func garbage(text: String) {
        #expect(throws: RuntimeError.self) { try TunnelMessage(decoding: Array(text.utf8)) }
    }

    @Test("A reason from another host is short and visible text")
    func plainReason() throws {
        let reason = "a\u{1B}[31m\n" + String(repeating: "y", count: 2_000)
        let message = try TunnelMessage(decoding: TunnelMessage.refused(reason).encoded)
        #expect(message == .refused("a[31m" + String(repeating: "y", count: 495)))
    }

    @Test("Seeded garbage never traps")
    func fuzz() {
        var random = SplitMix(state: 4_711)
        let start = TunnelMessage.connect(Self.loan).encoded
        for _ in 0..<5_000 {
            var bytes = start
            for _ in 0...random.next() % 4 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            _ = try? TunnelMessage(decoding: bytes)
        }
    }
}

private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
