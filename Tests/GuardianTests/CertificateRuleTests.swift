import Core
import Testing

@testable import Guardian

@Suite struct CertificateRuleTests {
    private static let ann = ClientCertificate(subject: "CN=ann,O=Example", commonName: "ann", fingerprint: "aa")
    private static let bob = ClientCertificate(subject: "CN=b b,O=Example", commonName: "b b", fingerprint: "bb")

    private static func caller(
        _ certificate: ClientCertificate?, key: String? = nil, from address: String = "10.0.0.2", isSecure: Bool = true
    ) -> AccessRule.Caller {
        AccessRule.Caller(
            address: IPAddress(address), isSecure: isSecure, certificate: certificate, apiKey: key)
    }

    private static func rule(_ entries: [CertificateRule.Entry] = [], requiresTLS: Bool = false) -> AccessRule {
        AccessRule(
            keys: ClientKeys([(name: "laptop", key: Secret("sk-1"))]), network: .key,
            certificates: CertificateRule(entries), requiresTLS: requiresTLS)
    }

    private static func outcome(_ rule: AccessRule, _ caller: AccessRule.Caller, to access: Access = .chat) -> String {
        do throws(RuntimeError) { return try rule.admit(caller, to: access).owner.name } catch {
            return error.code.rawValue
        }
    }

    @Test("without a list every certificate of the authority may chat and read, under its own name")
    func all() throws {
        #expect(Self.outcome(Self.rule(), Self.caller(Self.ann)) == "cert:ann")
        #expect(Self.outcome(Self.rule(), Self.caller(Self.bob)) == "cert:bb")
        #expect(Self.outcome(Self.rule(), Self.caller(Self.ann), to: .read) == "cert:ann")
        #expect(Self.outcome(Self.rule(), Self.caller(Self.ann), to: .admin) == "forbidden")
        #expect(Self.outcome(Self.rule(), Self.caller(nil)) == "unauthenticated")
    }

    @Test("with a list only those on it count, each for what it says")
    func listed() {
        let rule = Self.rule([
            .init(name: "reader", subject: "CN=ann,O=Example", scopes: .read),
            .init(name: "boss", subject: "CN=b b,O=Example", fingerprint: "bb", scopes: .admin),
            .init(name: "nobody", scopes: .admin),
        ])
        #expect(Self.outcome(rule, Self.caller(Self.ann), to: .read) == "key:reader")
        #expect(Self.outcome(rule, Self.caller(Self.ann), to: .chat) == "forbidden")
        #expect(Self.outcome(rule, Self.caller(Self.bob), to: .admin) == "key:boss")
        var other = Self.bob
        other.fingerprint = "cc"
        #expect(Self.outcome(rule, Self.caller(other), to: .known) == "unauthenticated")
        // Whoever sits at the machine needs none; one that is listed is who it says.
        #expect(Self.outcome(rule, Self.caller(other, from: "127.0.0.1"), to: .admin) == "local")
        #expect(Self.outcome(rule, Self.caller(Self.ann, from: "127.0.0.1"), to: .admin) == "forbidden")
    }

    @Test("a key that is sent besides counts first, and must be right")
    func keys() {
        #expect(Self.outcome(Self.rule(), Self.caller(Self.ann, key: "sk-1")) == "key:laptop")
        #expect(Self.outcome(Self.rule(), Self.caller(Self.ann, key: "sk-2")) == "unauthenticated")
    }

    @Test("where TLS is required a plain request of another machine is told so, whatever key it shows")
    func required() {
        let rule = Self.rule(requiresTLS: true)
        #expect(Self.outcome(rule, Self.caller(nil, key: "sk-1", isSecure: false)) == "forbidden")
        #expect(Self.outcome(rule, Self.caller(nil, key: "wrong", isSecure: false)) == "forbidden")
        #expect(Self.outcome(rule, Self.caller(nil, key: "sk-1")) == "key:laptop")
        #expect(Self.outcome(rule, Self.caller(nil, from: "127.0.0.1", isSecure: false)) == "local")
        let refusal = #expect(throws: RuntimeError.self) {
            try rule.admit(Self.caller(nil, isSecure: false), to: .known)
        }
        #expect(refusal?.message.contains("https://") == true)
    }
}
