import Core
import Testing

@testable import Settings

@Suite struct SwarmSettingsTests {
    @Test("Discovery is on and the swarm is closed where nothing is said")
    func defaults() throws {
        let settings = try read("{}")
        #expect(settings.mcp.mdns && settings.mcp.multicast && settings.mcp.multicastPort == 5_354)
        #expect(!settings.mcp.open && settings.mcp.seeds.isEmpty)
        #expect(settings.node.name == nil)
        #expect(settings.context.durability == .first)
        #expect(settings.context.retention == .seconds(7 * 86_400))
        #expect(effective("context.retention", in: settings) == "\"7d\" from default")
    }

    @Test(
        "A seed is a host with or without a port",
        arguments: [
            ("10.0.0.7", "10.0.0.7:8080"), ("office.lan:9000", "office.lan:9000"), ("fd00::1", "[fd00::1]:8080"),
            ("[fe80::1%eth0]:81", "[fe80::1%eth0]:81"),
        ])
    func seeds(text: String, address: String) throws {
        #expect(try read("{mcp: {seeds: ['\(text)']}}").mcp.seeds.map(\.description) == [address])
        // A variable that begins with a bracket is a JSON5 list.
        let variable = text.hasPrefix("[") ? "['\(text)']" : text
        #expect(try read("{}", environment: ["IGRIS_MCP_SEEDS": variable]).mcp.seeds.map(\.description) == [address])
    }

    @Test(
        "What is no seed is refused with its place",
        arguments: ["", "a b", "host:0", "host:99999", "http://host", ":1"])
    func wrongSeeds(text: String) {
        let found = problems("{mcp: {seeds: ['10.0.0.1', '\(text)']}}")
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("config.json5:1:28: mcp.seeds[1] must be HOST or HOST:PORT") == true, "\(found)")
    }

    @Test(
        "A duration has a unit",
        arguments: [("90m", 5_400), ("3600s", 3_600), ("12h", 43_200), ("365d", 31_536_000)])
    func durations(text: String, seconds: Int) throws {
        #expect(try read("{context: {retention: '\(text)'}}").context.retention == .seconds(seconds))
    }

    @Test(
        "What is no duration, or too short or too long, is refused",
        arguments: ["'7'", "'-7d'", "'7 d'", "'1s'", "'366d'", "'99999999999d'", "''", "7", "'7w'", "'٧d'"])
    func wrongDurations(text: String) {
        #expect(problems("{context: {retention: \(text)}}").count == 1)
    }
}
