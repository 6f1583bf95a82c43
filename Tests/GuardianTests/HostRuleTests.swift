import Core
import Testing

@testable import Guardian

@Suite struct HostRuleTests {
    private static let machine = MachineNames(
        addresses: Set(["192.168.1.5", "2001:db8::5"].compactMap { IPAddress($0) }), names: ["Igris", "igris.local"])

    private static func outcome(_ host: String?, _ origin: String?) -> String {
        do throws(RuntimeError) {
            try HostRule(allowedHosts: ["ai.example.org", "ui.example.org:3000"])
                .check(host: host, origin: origin, machine: machine)
            return "passes"
        } catch {
            return error.code.rawValue
        }
    }

    @Test(
        "a Host must name this machine",
        arguments: [
            ("localhost", "passes"), ("localhost:8080", "passes"), ("LOCALHOST.:8080", "passes"),
            ("app.localhost", "passes"), ("127.0.0.1:8080", "passes"), ("127.9.9.9", "passes"),
            ("[::1]:8080", "passes"),
            ("[::ffff:127.0.0.1]", "passes"), ("0.0.0.0:8080", "passes"),
            ("192.168.1.5:8080", "passes"), ("[2001:db8::5]", "passes"), ("igris:8080", "passes"),
            ("IGRIS.local", "passes"), ("ai.example.org", "passes"), ("AI.example.org:443", "passes"),
            ("192.168.1.6:8080", "forbidden"), ("[2001:db8::6]", "forbidden"), ("evil.com", "forbidden"),
            ("localhost.evil.com", "forbidden"), ("127.0.0.1.evil.com", "forbidden"), ("127.1", "forbidden"),
            ("2130706433", "forbidden"), ("notlocalhost", "forbidden"), ("evil.ai.example.org", "forbidden"),
            ("", "invalid_request"), (":8080", "invalid_request"), ("localhost:", "invalid_request"),
            ("localhost:0", "invalid_request"), ("localhost:99999", "invalid_request"),
            ("localhost:80:80", "invalid_request"), ("::1", "invalid_request"), ("[::1", "invalid_request"),
            ("[localhost]", "invalid_request"), ("user@localhost", "invalid_request"),
            ("localhost/x", "invalid_request"), ("evil.com localhost", "invalid_request"),
            ("localhost,evil.com", "invalid_request"),
        ])
    func hosts(_ host: String, _ expected: String) {
        #expect(Self.outcome(host, nil) == expected)
    }

    @Test("a request without Host is refused")
    func missingHost() {
        #expect(Self.outcome(nil, nil) == "invalid_request")
    }

    @Test(
        "a page may call the host that it came from, and nobody else's page may",
        arguments: [
            ("localhost:8080", "http://localhost:8080", "passes"),
            ("localhost:8080", "http://localhost:3000", "passes"),
            ("127.0.0.1:8080", "http://localhost:3000", "passes"),
            ("localhost:8080", "https://[::1]:1", "passes"),
            ("192.168.1.5:8080", "http://192.168.1.5:8080", "passes"),
            ("192.168.1.5:8080", "https://192.168.1.5", "passes"),
            ("igris.local:8080", "http://IGRIS.local:8080", "passes"),
            ("localhost:8080", "http://ui.example.org:3000", "passes"),
            ("localhost:8080", "https://ai.example.org", "passes"),
            ("localhost:8080", "http://evil.com", "forbidden"),
            ("localhost:8080", "http://192.168.1.5:8080", "forbidden"),
            ("192.168.1.5:8080", "http://localhost:3000", "forbidden"),
            ("192.168.1.5:8080", "http://igris.local", "forbidden"),
            ("192.168.1.5:8080", "http://evil.com", "forbidden"),
            ("localhost:8080", "null", "forbidden"), ("localhost:8080", "", "forbidden"),
            ("localhost:8080", "file://", "forbidden"), ("localhost:8080", "chrome-extension://localhost", "forbidden"),
            ("localhost:8080", "http://localhost.evil.com", "forbidden"),
            ("localhost:8080", "http://localhost/path", "forbidden"),
            ("localhost:8080", "http://evil.com@localhost", "forbidden"),
            ("localhost:8080", "http://localhost http://evil.com", "forbidden"),
        ])
    func origins(_ host: String, _ origin: String, _ expected: String) {
        #expect(Self.outcome(host, origin) == expected)
    }
}
