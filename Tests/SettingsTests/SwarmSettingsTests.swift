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
        #expect(settings.context.retention == nil && settings.context.maxBytes == nil)
        #expect(effective("context.retention", in: settings) == "\"off\" from default")
        #expect(effective("context.max_bytes", in: settings) == "\"off\" from default")
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
        arguments: [("90m", 5_400), ("3600s", 3_600), ("12h", 43_200), ("365d", 31_536_000), ("1s", 1)])
    func durations(text: String, seconds: Int) throws {
        #expect(try read("{context: {retention: '\(text)'}}").context.retention == .seconds(seconds))
    }

    @Test(
        "What is no duration, or too short or too long, is refused",
        arguments: ["'7'", "'-7d'", "'7 d'", "'0s'", "'3651d'", "'Off'", "'99999999999d'", "''", "7", "'7w'", "'٧d'"])
    func wrongDurations(text: String) {
        #expect(problems("{context: {retention: \(text)}}").count == 1)
    }

    @Test(
        "A size has a unit",
        arguments: [("64KiB", 65_536), ("500MB", 500_000_000), ("2GiB", 2_147_483_648), ("65537B", 65_537)])
    func sizes(text: String, bytes: Int) throws {
        let settings = try read("{context: {max_bytes: '\(text)'}}")
        #expect(settings.context.maxBytes == bytes)
        #expect(effective("context.max_bytes", in: settings)?.hasPrefix("\"\(text)\"") == true)
        #expect(try read("{}", environment: ["IGRIS_CONTEXT_MAX_BYTES": text]).context.maxBytes == bytes)
        #expect(try read("{context: {max_bytes: 'off', retention: 'off'}}").context.maxBytes == nil)
    }

    @Test(
        "What is no size, or too small or too large, is refused",
        arguments: [
            "'1kB'", "'2048TiB'", "'5'", "'GB'", "'-1GB'", "'1.5GB'", "'99999999999999TiB'", "1073741824", "''",
        ])
    func wrongSizes(text: String) {
        #expect(problems("{context: {max_bytes: \(text)}}").count == 1)
    }
}
