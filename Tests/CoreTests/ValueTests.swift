import Core
import Testing

@Suite struct ValueTests {
    @Test(
        "A conversation's id is what could stand in a header",
        arguments: ["a", "conv_1", "~!#", String(repeating: "x", count: Limits.conversationIDBytes)])
    func allowedIDs(text: String) {
        #expect(ConversationID(text)?.rawValue == text)
    }

    @Test(
        "Nothing else is a conversation's id",
        arguments: [
            "", " ", "a b", "a\n", "ä", "a\u{0}", "a\u{7F}",
            String(repeating: "x", count: Limits.conversationIDBytes + 1),
        ])
    func refusedIDs(text: String) {
        #expect(ConversationID(text) == nil)
    }

    @Test("An id made here is one that would be accepted")
    func madeIDs() {
        let id = ConversationID("conv_", hexOf: [UInt8](repeating: 0xAB, count: 100))
        #expect(id.rawValue == "conv_" + String(repeating: "ab", count: 32))
        #expect(ConversationID(id.rawValue) == id)
    }

    @Test("No way of printing a secret shows it")
    func secrets() {
        struct Holder { var key = Secret("hunter2"), name = "n" }
        let secret = Secret("hunter2")
        var dumped = ""
        dump(Holder(), to: &dumped)
        dump(secret, to: &dumped)
        let texts = [
            "\(secret)", String(describing: secret), String(reflecting: secret), secret.debugDescription,
            "\(Holder())", String(reflecting: Holder()), "\([secret])", "\(Optional(secret) as Any)", dumped,
        ]
        for text in texts { #expect(!text.contains("hunter2")) }
        #expect(secret.reveal() == "hunter2")
    }

    @Test("The cost of a prompt is the sum of its parts, rounded up message by message")
    func tokenCost() {
        let cost = TokenCost(perByte: 0.3, perMessage: 4, fixed: 2, isExact: false)
        #expect(cost.tokens(of: Message(.user, "abcd")) == 4 + 2)
        #expect(cost.tokens(of: [Message(.user, "abcd"), Message(.user, "")]) == 2 + 6 + 4)
    }
}
