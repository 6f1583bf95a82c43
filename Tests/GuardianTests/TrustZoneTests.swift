import Core
import Testing

@testable import Guardian

@Suite struct TrustZoneTests {
    private static let key = Secret("sk-1")

    private static func rule(
        _ zones: ZoneRule = ZoneRule(), required: AccessRule.Requirement = .remote,
        network: AccessRule.NetworkAccess = .key, hasKeys: Bool = true
    ) -> AccessRule {
        AccessRule(
            keys: ClientKeys(hasKeys ? [(name: "laptop", key: key)] : []), network: network, required: required,
            zones: zones)
    }

    private static func ask(
        _ rule: AccessRule, _ address: String, key: String? = "sk-1", certificate: ClientCertificate? = nil,
        to access: Access = .chat, isChange: Bool = true, isOwnUser: Bool = false, neighbours: String? = nil
    ) -> String {
        let caller = AccessRule.Caller(
            address: IPAddress(address), isOwnUser: isOwnUser, isSecure: true, certificate: certificate, apiKey: key)
        do throws(RuntimeError) {
            let identity = try rule.admit(
                caller, to: access, isChange: isChange,
                isNeighbour: { address in neighbours.flatMap { AddressRange($0) }?.contains(address) ?? false })
            return identity.zone.rawValue
        } catch {
            return error.code.rawValue
        }
    }

    @Test("a key of a private or neighbouring address is trusted, of any other one it may only read")
    func addresses() {
        let rule = Self.rule()
        for address in ["10.1.2.3", "172.16.0.1", "192.168.7.7", "169.254.1.1", "100.64.0.9", "fd00::1", "fe80::1"] {
            #expect(Self.ask(rule, address) == "trusted", "\(address)")
        }
        #expect(Self.ask(rule, "127.0.0.1") == "local")
        for address in ["203.0.113.5", "172.32.0.1", "2001:db8::1"] {
            #expect(Self.ask(rule, address) == "forbidden", "\(address)")
            #expect(Self.ask(rule, address, isChange: false) == "external")
            #expect(Self.ask(rule, address, to: .read, isChange: false) == "external")
            #expect(Self.ask(rule, address, to: .known) == "external")
            #expect(Self.ask(rule, address, to: .admin, isChange: false) == "forbidden")
            #expect(Self.ask(rule, address, key: "wrong", isChange: false) == "unauthenticated")
        }
        #expect(Self.ask(rule, "203.0.113.5", neighbours: "203.0.113.0/24") == "trusted")
    }

    @Test("the settings move networks from one zone into the other, and a certificate proves more than an address")
    func settings() throws {
        let zones = ZoneRule(
            trusted: [try #require(AddressRange("203.0.113.0/24"))],
            external: [try #require(AddressRange("192.168.9.0/24"))])
        let rule = Self.rule(zones)
        #expect(Self.ask(rule, "203.0.113.5") == "trusted")
        #expect(Self.ask(rule, "192.168.9.5", neighbours: "192.168.9.0/24") == "forbidden")
        #expect(Self.ask(rule, "192.168.8.5") == "trusted")
        let certificate = ClientCertificate(subject: "CN=ann", commonName: "ann", fingerprint: "aa")
        #expect(Self.ask(rule, "198.51.100.1", key: nil, certificate: certificate) == "trusted")
        #expect(Self.ask(Self.rule(network: .open), "198.51.100.1", key: nil) == "forbidden")
        #expect(Self.ask(Self.rule(network: .open), "10.0.0.1", key: nil) == "trusted")
    }

    @Test("trust goes down from zone to zone")
    func trust() { #expect(TrustZone.allCases.map(\.trust) == [0.9, 0.7, 0.5]) }

    @Test("where a key is always required, this machine needs one too, and has what the key has")
    func always() {
        let rule = Self.rule(required: .always)
        #expect(Self.ask(rule, "127.0.0.1", key: nil, to: .known) == "unauthenticated")
        #expect(Self.ask(rule, "127.0.0.1") == "local")
        #expect(Self.ask(rule, "127.0.0.1", to: .admin) == "forbidden")
        #expect(Self.ask(rule, "127.0.0.1", key: nil, to: .admin, isOwnUser: true) == "local")
        #expect(Self.ask(Self.rule(required: .always, hasKeys: false), "127.0.0.1", key: "dummy") == "unauthenticated")
        // Openness to the network is none to this machine's other users: they are told to have a key.
        #expect(Self.ask(Self.rule(required: .always, network: .open), "127.0.0.1", key: nil) == "unauthenticated")
    }

    @Test("what is for anyone is, from wherever they may come")
    func anyone() throws {
        let rule = AccessRule(
            keys: ClientKeys([]), network: .key, allowed: [try #require(AddressRange("10.0.0.0/8"))], requiresTLS: true)
        func ask(_ address: String, isSecure: Bool) -> Bool {
            let caller = AccessRule.Caller(address: IPAddress(address), isSecure: isSecure)
            return (try? rule.admit(caller, to: .anyone, isChange: true)) != nil
        }
        #expect(ask("10.0.0.1", isSecure: true))
        #expect(!ask("10.0.0.1", isSecure: false))
        #expect(!ask("192.168.0.1", isSecure: true))
    }
}
