import Core
import Cryptography
import Testing

@testable import Guardian

@Suite struct SessionDeskTests {
    private static func nonce(_ number: Int) -> [UInt8] {
        [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)] + [UInt8](repeating: 1, count: 30)
    }
    private static func digest(_ number: Int) -> TokenDigest { TokenDigest(of: "bearer \(number)") }

    @Test("a nonce is good once, for whom and as long as it was given out")
    func nonces() {
        var desk = SessionDesk()
        let made = desk.challenge("ann", of: "10.0.0.2", nonce: Self.nonce(1), at: 1_000)
        #expect(made == SessionDesk.Challenge(agent: "ann", expires: 61_000))
        let taken = [2, 1, 1].map { desk.take(Self.nonce($0), at: 2_000) }
        #expect(taken == [nil, made, nil])
        let other = desk.challenge("ann", of: "10.0.0.2", nonce: Self.nonce(3), at: 1_000)
        let late = desk.take(Self.nonce(3), at: 61_000)
        #expect(other != nil && late == nil)
        #expect(desk.openChallenges == 0)
    }

    @Test("what is signed names the host, the agent, the nonce and the end")
    func message() {
        let challenge = SessionDesk.Challenge(agent: "ann", expires: 61_000)
        let hosts = [1, 2].map { NodeID(Bytes16(high: 0, low: $0)) }
        let messages: Set<String> = [
            challenge.message(nonce: Self.nonce(1), node: hosts[0]),
            challenge.message(nonce: Self.nonce(1), node: hosts[1]),
            challenge.message(nonce: Self.nonce(2), node: hosts[0]),
            SessionDesk.Challenge(agent: "bob", expires: 61_000).message(nonce: Self.nonce(1), node: hosts[0]),
            SessionDesk.Challenge(agent: "ann", expires: 61_001).message(nonce: Self.nonce(1), node: hosts[0]),
        ]
        #expect(messages.count == 5)
    }

    @Test("one origin has only so many, all together too, and who has most makes room for others")
    func bounds() {
        var desk = SessionDesk()
        var number = 0
        func ask(_ origin: String, at wall: UInt64) -> Bool {
            number += 1
            return desk.challenge("ann", of: origin, nonce: Self.nonce(number), at: wall) != nil
        }
        for _ in 0..<Limits.challengesPerOrigin { #expect(ask("a", at: 0)) }
        #expect(!ask("a", at: 59_999))
        #expect(ask("b", at: 59_999))
        #expect(ask("a", at: 60_000))
        let early = number + 1
        #expect(ask("early", at: 60_000))
        for origin in 0..<Limits.challenges / Limits.challengesPerOrigin + 10 {
            for _ in 0..<Limits.challengesPerOrigin { #expect(ask("origin \(origin)", at: 60_000)) }
        }
        #expect(desk.openChallenges == Limits.challenges)
        #expect(desk.take(Self.nonce(early), at: 60_000)?.agent == "ann")
    }

    @Test("a session is for its holder and its time, and the oldest of a holder makes room")
    func sessions() {
        var desk = SessionDesk()
        let end = desk.begin(Self.digest(0), for: .key("ann"), at: 0)
        #expect(end == 900_000)
        #expect(desk.holder(of: Self.digest(0), at: 899_999) == .key("ann"))
        #expect(desk.holder(of: Self.digest(0), at: 900_000) == nil)
        #expect(desk.holder(of: Self.digest(1), at: 0) == nil)
        for number in 1...Limits.sessionsPerHolder {
            _ = desk.begin(Self.digest(number), for: .key("ann"), at: UInt64(number))
        }
        #expect(desk.holder(of: Self.digest(0), at: 100) == nil)
        #expect(desk.holder(of: Self.digest(1), at: 100) == .key("ann"))
        _ = desk.begin(Self.digest(1_000), for: .key("bob"), at: 100)
        #expect(desk.holder(of: Self.digest(1), at: 100) == .key("ann"))
    }

    @Test("signatures of an agent's key and of a key's or token's hash count, of the right name alone")
    func proofs() throws {
        let pair = try Ed25519.PrivateKey(seed: SymmetricKey([UInt8](repeating: 3, count: 32)))
        let token = AccessToken(name: "phone", digest: TokenDigest(of: "igr_x"), scopes: .chat)
        let proof = SessionProof(
            keys: ClientKeys([(name: "laptop", key: Secret("sk-1"))]),
            agents: [AgentKey(name: "robot", key: pair.publicKey, scopes: .read)])
        func holder(_ name: String, _ signature: [UInt8], tokens: [AccessToken] = [token]) -> SessionHolder? {
            proof.holder(of: name, signature: signature, message: "text", tokens: tokens)
        }
        func code(_ key: String) -> [UInt8] {
            HMACSHA256.authenticate(Array("text".utf8), key: SymmetricKey(SHA256.hash(Array(key.utf8))))
        }
        #expect(holder("robot", try pair.sign(Array("text".utf8))) == .agent("robot", .read))
        #expect(holder("other", try pair.sign(Array("text".utf8))) == nil)
        #expect(holder("robot", try pair.sign(Array("other".utf8))) == nil)
        #expect(holder("laptop", code("sk-1")) == .key("laptop"))
        #expect(holder("phone", code("sk-1")) == nil)
        #expect(holder("laptop", code("sk-2")) == nil)
        #expect(holder("phone", code("igr_x")) == .token(token.digest))
        #expect(holder("phone", code("igr_x"), tokens: []) == nil)
        #expect(holder("laptop", []) == nil)
    }
}
