import Core
import Testing

@testable import Guardian

@Suite struct AccessRuleTests {
    private static let keys = ClientKeys([(name: "laptop", key: Secret("sk-1")), (name: "phone", key: Secret("sk-2"))])

    struct Case: Sendable, CustomTestStringConvertible {
        var address: String?
        var authorization: String?
        var apiKey: String?
        var network = AccessRule.NetworkAccess.key
        var hasKeys = true
        /// An owner's name, or the code of the refusal.
        var expected: String

        var testDescription: String {
            "\(address ?? "no address") \(authorization ?? "-") \(apiKey ?? "-") \(network) keys:\(hasKeys) → \(expected)"
        }
    }

    private static func outcome(_ rule: AccessRule, _ caller: AccessRule.Caller) -> String {
        do throws(RuntimeError) { return try rule.admit(caller, to: .known).owner.name } catch {
            return error.code.rawValue
        }
    }

    @Test(
        "a caller is known by key, by loopback, or not at all",
        arguments: [
            Case(address: "127.0.0.1", expected: "local"),
            Case(address: "::1", expected: "local"),
            Case(address: "::ffff:127.0.0.1", expected: "local"),
            Case(address: "127.0.0.1", authorization: "Bearer sk-1", expected: "key:laptop"),
            Case(address: "127.0.0.1", authorization: "Bearer wrong", expected: "unauthenticated"),
            Case(address: "127.0.0.1", authorization: "Bearer none", hasKeys: false, expected: "local"),
            Case(address: "127.0.0.1", apiKey: "wrong", expected: "unauthenticated"),
            Case(address: "10.0.0.2", expected: "unauthenticated"),
            Case(address: nil, expected: "unauthenticated"),
            Case(address: "10.0.0.2", authorization: "bearer  sk-2", expected: "key:phone"),
            Case(address: "10.0.0.2", authorization: "Basic sk-2", expected: "unauthenticated"),
            Case(address: "10.0.0.2", authorization: "sk-2", expected: "unauthenticated"),
            Case(address: "10.0.0.2", authorization: "Bearer ", expected: "unauthenticated"),
            Case(address: "10.0.0.2", apiKey: "sk-2", expected: "key:phone"),
            Case(address: "10.0.0.2", authorization: "Bearer sk-2", apiKey: "sk-2", expected: "key:phone"),
            Case(address: "10.0.0.2", authorization: "Bearer sk-2", apiKey: "sk-1", expected: "unauthenticated"),
            Case(address: "10.0.0.2", authorization: "Bearer sk-2", apiKey: "x", expected: "unauthenticated"),
            Case(address: "10.0.0.2", hasKeys: false, expected: "unauthenticated"),
            Case(address: "10.0.0.2", authorization: "Bearer x", hasKeys: false, expected: "unauthenticated"),
            Case(address: "10.0.0.2", network: .open, expected: "lan"),
            Case(address: "10.0.0.2", authorization: "Bearer sk-1", network: .open, expected: "key:laptop"),
            Case(address: "10.0.0.2", authorization: "Bearer x", network: .open, expected: "unauthenticated"),
            Case(address: "10.0.0.2", authorization: "Bearer x", network: .open, hasKeys: false, expected: "lan"),
        ])
    func decides(_ it: Case) {
        let rule = AccessRule(keys: it.hasKeys ? Self.keys : ClientKeys([]), network: it.network)
        let caller = AccessRule.Caller(
            address: it.address.flatMap { IPAddress($0) }, authorization: it.authorization, apiKey: it.apiKey)
        #expect(Self.outcome(rule, caller) == it.expected)
    }

    @Test("the allow-list shuts out other addresses even with a key, but never loopback")
    func allowlist() throws {
        let range = try #require(AddressRange("10.1.0.0/16"))
        let rule = AccessRule(keys: Self.keys, network: .key, allowed: [range])
        #expect(Self.outcome(rule, .init(address: IPAddress("10.1.2.3"), apiKey: "sk-1")) == "key:laptop")
        #expect(Self.outcome(rule, .init(address: IPAddress("10.2.2.3"), apiKey: "sk-1")) == "forbidden")
        #expect(Self.outcome(rule, .init(address: nil, apiKey: "sk-1")) == "forbidden")
        #expect(Self.outcome(rule, .init(address: IPAddress("127.0.0.1"))) == "local")
    }

    @Test("a refusal names the header to send and the setting to change")
    func nextStep() throws {
        let rule = AccessRule(keys: ClientKeys([]), network: .key)
        let error = #expect(throws: RuntimeError.self) {
            try rule.admit(.init(address: IPAddress("10.0.0.2")), to: .known)
        }
        let message = try #require(error?.message)
        #expect(message.contains("auth.keys") && message.contains("auth.lan"))
    }

    @Test("neither a key nor its hash can be read from a dump of the keys")
    func keysStaySecret() {
        let text = String(reflecting: ClientKeys([(name: "a", key: Secret("sk-very-secret"))]))
        #expect(!text.contains("sk-very-secret"))
    }

    // MARK: Tokens

    private static let token = "igr_0123"

    private static func admits(
        _ access: Access, _ standing: TokenTable.Standing, address: String = "10.0.0.2",
        keys: ClientKeys = ClientKeys([]),
        authorization: String? = nil, apiKey: String? = nil
    ) -> String {
        let rule = AccessRule(keys: keys, network: .key)
        let caller = AccessRule.Caller(address: IPAddress(address), authorization: authorization, apiKey: apiKey)
        do throws(RuntimeError) {
            let known = TokenDigest(of: token)
            return try rule.admit(caller, to: access) { $0 == known ? standing : .unknown }.owner.name
        } catch {
            return error.code.rawValue
        }
    }

    private static func valid(_ scopes: Scopes) -> TokenTable.Standing {
        .valid(AccessToken(name: "ann", digest: TokenDigest(of: token), scopes: scopes))
    }

    @Test(
        "a token opens what its scopes say, from this machine as from others",
        arguments: ["10.0.0.2", "127.0.0.1"])
    func scopes(_ address: String) {
        let table: [(Scopes, [Access])] = [
            (.chat, [.known, .chat]), (.read, [.known, .read]), (.admin, [.known, .chat, .read, .admin]),
            ([.chat, .read], [.known, .chat, .read]), ([], []), (Scopes(rawValue: 0x80), []),
        ]
        for (scopes, opened) in table {
            for access in [Access.known, .chat, .read, .admin] {
                let expected = opened.contains(access) ? "key:ann" : "forbidden"
                for (authorization, apiKey) in [("Bearer \(Self.token)", nil), (nil, Self.token)]
                    as [(String?, String?)]
                {
                    #expect(
                        Self.admits(
                            access, Self.valid(scopes), address: address, authorization: authorization, apiKey: apiKey)
                            == expected)
                }
            }
            #expect(Self.admits(.peer, Self.valid(scopes), apiKey: Self.token) == "unauthenticated")
        }
    }

    @Test("a token that is unknown, revoked or expired opens nothing, not even on this machine")
    func overTokens() {
        let expired = AccessToken(name: "ann", digest: TokenDigest(of: Self.token), scopes: .all)
        for standing in [TokenTable.Standing.unknown, .revoked, .expired(expired)] {
            for address in ["127.0.0.1", "10.0.0.2"] {
                #expect(Self.admits(.known, standing, address: address, apiKey: Self.token) == "unauthenticated")
                // Beside a right one too.
                #expect(
                    Self.admits(
                        .known, standing, address: address, keys: Self.keys, authorization: "Bearer sk-1",
                        apiKey: Self.token) == "unauthenticated")
            }
        }
    }

    @Test("keys that client libraries fill in are ignored on this machine, tokens or not")
    func fillIns() {
        #expect(Self.admits(.chat, Self.valid(.chat), address: "127.0.0.1", apiKey: "dummy") == "local")
        #expect(Self.admits(.chat, Self.valid(.chat), apiKey: "dummy") == "unauthenticated")
        #expect(
            Self.admits(
                .chat, Self.valid(.chat), address: "127.0.0.1", authorization: "Bearer dummy", apiKey: Self.token)
                == "unauthenticated")
    }

    @Test("keys of the configuration administer on the machine itself only")
    func keysAndAdmin() {
        #expect(Self.admits(.admin, .unknown, address: "127.0.0.1", keys: Self.keys, apiKey: "sk-1") == "key:laptop")
        #expect(Self.admits(.admin, .unknown, keys: Self.keys, apiKey: "sk-1") == "forbidden")
        for access in [Access.chat, .read] {
            #expect(Self.admits(access, .unknown, keys: Self.keys, apiKey: "sk-1") == "key:laptop")
        }
    }
}
