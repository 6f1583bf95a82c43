import Core
import Cryptography
import Testing

@testable import Guardian

@Suite struct TokenTableTests {
    private static func digest(_ text: String) -> TokenDigest { TokenDigest(of: text) }

    private static func note(
        _ note: TokenNote, _ sequence: UInt64, node: UInt64 = 1, at milliseconds: UInt64 = 1_000
    ) -> Operation {
        Operation(
            dot: Dot(origin: Origin(node: NodeID(Bytes16(high: node, low: 0)), epoch: 1), sequence: sequence),
            kind: .token, timestamp: HybridTimestamp(rawValue: milliseconds << 16), stream: TokenNote.stream,
            body: note.encoded)
    }

    private static func token(
        _ name: String, scopes: Scopes = .chat, expires: UInt64? = nil
    ) -> AccessToken {
        AccessToken(
            name: name, digest: digest("igr_\(name)"), scopes: scopes, models: ["a", "b"], expires: expires, rate: 60)
    }

    @Test("a note is read as it was written")
    func roundTrip() throws {
        var token = Self.token("ann@phone.1", scopes: [.chat, .admin], expires: 99)
        let operation = Self.note(.made(token), 1)
        token.created = operation.timestamp.milliseconds
        #expect(try TokenNote.decode(operation) == .made(token))
        #expect(try TokenNote.decode(Self.note(.revoked(token.digest), 2)) == .revoked(token.digest))
    }

    @Test("no bytes make the reader trap")
    func garbage() {
        var random = SystemRandomNumberGenerator()
        for seed in [TokenNote.made(Self.token("ann")).encoded, TokenNote.revoked(Self.digest("x")).encoded] {
            for _ in 0..<2_000 {
                var body = seed
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    body[Int.random(in: 0..<body.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                body = Array(body.prefix(Int.random(in: 0...body.count, using: &random)))
                var operation = Self.note(.revoked(Self.digest("x")), 1)
                operation.body = body
                _ = try? TokenNote.decode(operation)
            }
        }
    }

    @Test("a token is valid from its note on, and until it expires")
    func life() {
        var table = TokenTable()
        let token = Self.token("ann", expires: 5_000)
        #expect(table.standing(of: token.digest, at: 0) == .unknown)
        _ = table.noted([Self.note(.made(token), 1)])
        guard case .valid(let found) = table.standing(of: token.digest, at: 4_999) else {
            Issue.record("it is not valid")
            return
        }
        #expect(found.name == "ann" && found.models == ["a", "b"] && found.rate == 60)
        let told = [4_999, 5_000, 6_000].map { table.expired(at: $0) }
        #expect(told == [[], [token.digest], []])
        guard case .expired = table.standing(of: token.digest, at: 5_000) else {
            Issue.record("it has not expired")
            return
        }
    }

    @Test("who revokes wins, in whatever order and however often the notes come")
    func revocationWins() {
        let token = Self.token("ann")
        let wide = Self.token("ann", scopes: .all)
        // Another host makes the same token again, with more rights and later.
        let notes = [
            Self.note(.made(token), 1), Self.note(.revoked(token.digest), 1, node: 2, at: 500),
            Self.note(.made(wide), 2, node: 2, at: 9_000),
        ]
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 1, 0, 0, 2]] {
            var table = TokenTable()
            var ended: [TokenDigest] = []
            for index in order { ended += table.noted([notes[index]]) }
            #expect(ended == [token.digest])
            #expect(table.standing(of: token.digest, at: 0) == .revoked)
            var atOnce = TokenTable()
            let endedAtOnce = atOnce.noted(order.map { notes[$0] })
            #expect(endedAtOnce == [token.digest])
            #expect(atOnce.standing(of: token.digest, at: 0) == .revoked)
        }
    }

    @Test("of two notes that make one token the earlier counts on every host")
    func firstNoteCounts() {
        let narrow = Self.note(.made(Self.token("ann", scopes: .chat)), 1)
        let wide = Self.note(.made(Self.token("ann", scopes: .all)), 1, node: 2, at: 2_000)
        for order in [[narrow, wide], [wide, narrow]] {
            var table = TokenTable()
            for note in order { _ = table.noted([note]) }
            guard case .valid(let token) = table.standing(of: Self.digest("igr_ann"), at: 0) else {
                Issue.record("it is not valid")
                continue
            }
            #expect(token.scopes == .chat)
        }
    }

    @Test("notes in a client's conversation are none")
    func otherStreams() {
        var operation = Self.note(.made(Self.token("eve", scopes: .all)), 1)
        operation.stream = StreamID(Bytes16(high: 1, low: 2))
        var table = TokenTable()
        _ = table.noted([operation])
        #expect(table.standing(of: Self.digest("igr_eve"), at: 0) == .unknown)
    }

    @Test("tokens are found by name and by id, revoked ones no more")
    func called() {
        var table = TokenTable()
        let (ann, bob) = (Self.token("ann"), Self.token("bob"))
        _ = table.noted([Self.note(.made(ann), 1), Self.note(.made(bob), 2)])
        #expect(table.called("ann").map(\.id) == [ann.id])
        #expect(table.called(bob.id).map(\.name) == ["bob"])
        #expect(table.called("tok_").isEmpty)
        let (isNews, isAgain) = (table.revoke(ann.digest), table.revoke(ann.digest))
        #expect(isNews && !isAgain)
        #expect(table.called("ann").isEmpty)
    }

    @Test("the table is bounded; what was revoked stays so when it is full")
    func bounds() {
        var table = TokenTable()
        for index in 0...Limits.revokedTokens { _ = table.revoke(Self.digest("\(index)")) }
        _ = table.noted([Self.note(.made(Self.token("ann")), 1)])
        #expect(table.standing(of: Self.digest("igr_ann"), at: 0) == .unknown)
        #expect(!table.hasRoom)
    }

    @Test("a token's text has 256 bits, and its id does not lead back to it")
    func text() {
        let low = TokenText.make([UInt8](repeating: 0, count: 32)).reveal()
        let high = TokenText.make([UInt8](repeating: 255, count: 32)).reveal()
        #expect(low == "igr_" + String(repeating: "0", count: 43))
        #expect(high.count == 47 && high > low)
        var texts: Set<String> = []
        for bit in 0..<256 {
            var bytes = [UInt8](repeating: 0, count: 32)
            bytes[bit / 8] = 1 << (bit % 8)
            texts.insert(TokenText.make(bytes).reveal())
        }
        #expect(texts.count == 256)
        #expect(TokenDigest(of: "x").id.hasPrefix("tok_"))
        #expect("\(TokenText.make([UInt8](repeating: 7, count: 32)))" == "<secret>")
    }

    @Test(
        "names are names",
        arguments: [
            ("ann", true), ("a.n_n-1@home", true), ("", false), ("tok_1", false), ("a b", false), ("ü", false),
            (String(repeating: "a", count: 64), true), (String(repeating: "a", count: 65), false),
        ])
    func names(_ name: String, _ isOne: Bool) { #expect(AccessToken.isName(name) == isOne) }
}
