import ArgumentParser
import Core

/// `igris-runtime peers`: who is in my swarm, and who is not and why?
struct Peers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the hosts that this one knows, and why one of them does not share.")

    @OptionGroup var page: PageOptions

    func run() async throws { try await page.show("/v1/mcp/peers?self=1", inWords: Self.words) }

    private static func words(_ page: JSON) -> String {
        let hosts = (page["peers"]?.array ?? []) + (page["others"]?.array ?? [])
        // Columns that would be empty for all are left out.
        let hasZones = hosts.contains { $0["zone"]?.string?.isEmpty == false }
        let hasDoubts = hosts.contains { $0["reputation"]?.integer.map { $0 < Self.usualReputation } == true }
        var table = Table(
            ["NAME", "ID", "ADDRESS", "STATE", "RTT", "VERSION", "ROLE"] + (hasZones ? ["ZONE"] : []) + [
                "MODELS", "LAG",
            ]
                + (hasDoubts ? ["REPUTATION"] : []) + ["VIA", "WHY NOT"])
        for host in hosts {
            let isSelf = host["self"]?.bool == true
            var words = [
                (host["name"]?.string ?? "") + (isSelf ? " (this host)" : ""), host["id"]?.string.map(Self.short),
                host["address"]?.string, host["state"]?.string, host["rtt_ms"]?.number.map(Self.milliseconds),
                host["version"]?.string, host["role"]?.string,
            ]
            if hasZones { words.append(host["zone"]?.string) }
            words += [Self.list(host["models"]), host["lag"]?.integer.map { String($0) }]
            if hasDoubts { words.append(host["reputation"]?.integer.map { String($0) }) }
            table.add(words + [Self.list(host["via"]), host["why_not"]?.string])
        }
        guard hosts.contains(where: { $0["self"]?.bool != true }) else {
            return table.text + "no other host is known; igris-runtime doctor peers finds out why\n"
        }
        return table.text
    }

    /// Above it there is nothing to tell.
    private static let usualReputation: Int64 = 80

    /// Enough of an id to tell hosts apart, and taken wherever a host is named.
    static func short(_ id: String) -> String { String(id.prefix(12)) }

    /// `0.25ms`
    static func milliseconds(_ value: Double) -> String {
        let hundredths = (value * 100).rounded()
        guard hundredths.magnitude < 1e15 else { return "?" }
        let number = Int(hundredths)
        let fraction = String(number % 100 + 100).dropFirst()
        return "\(number / 100).\(fraction)ms"
    }

    private static func list(_ names: JSON?) -> String {
        (names?.array ?? []).compactMap(\.string).joined(separator: ",")
    }
}
