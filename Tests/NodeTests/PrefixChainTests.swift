import Core
import Cryptography
import Node
import Testing

@Suite struct PrefixChainTests {
    private static func hashes(_ messages: [Message], owner: String = "o", key: UInt8 = 1) -> [PrefixHash] {
        var chain = PrefixChain(owner: Owner(name: owner), key: SymmetricKey([UInt8](repeating: key, count: 32)))
        return messages.map { chain.advance(over: $0) }
    }

    @Test("A longer history goes on from a shorter one; white space around a text does not matter")
    func chain() {
        let short = [Message(.user, "a"), Message(.assistant, "b")]
        let long = [Message(.user, " a\n"), Message(.assistant, "b\t"), Message(.user, "c")]
        #expect(Self.hashes(short) == Array(Self.hashes(long).prefix(2)))
        #expect(Set(Self.hashes(long)).count == 3)
    }

    @Test("Another text, role, order, owner or key gives another hash")
    func differences() {
        let variants = [
            Self.hashes([Message(.user, "a"), Message(.assistant, "b")]),
            Self.hashes([Message(.user, "a"), Message(.assistant, "c")]),
            Self.hashes([Message(.user, "a"), Message(.user, "b")]),
            Self.hashes([Message(.user, "b"), Message(.assistant, "a")]),
            Self.hashes([Message(.user, "ab"), Message(.assistant, "")]),
            Self.hashes([Message(.user, "a"), Message(.assistant, "b")], owner: "p"),
            Self.hashes([Message(.user, "a"), Message(.assistant, "b")], key: 2),
        ].compactMap(\.last)
        #expect(Set(variants).count == variants.count)
    }

    @Test("White space inside a text, and only there, matters")
    func whiteSpace() {
        #expect(Self.hashes([Message(.user, "a b")]) != Self.hashes([Message(.user, "ab")]))
        #expect(Self.hashes([Message(.user, "  ")]) == Self.hashes([Message(.user, "")]))
    }
}
