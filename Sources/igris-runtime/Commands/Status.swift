import ArgumentParser
import Core

/// `igris-runtime status`: is anything wrong?
struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how the daemon is; the first line says whether anything is wrong.")

    @OptionGroup var page: PageOptions

    func run() async throws { try await page.show("/v1/status", inWords: Self.words) }

    private static func words(_ status: JSON) -> String {
        let reasons = status["reasons"]?.array?.compactMap(\.string) ?? []
        let troubles =
            reasons + (status["swarm"].map(SwarmSummary.troubles) ?? [])
            + (status["tls"]?["trouble"]?.string.map { ["https: \($0)"] } ?? [])
        let isReady = status["ready"]?.bool == true
        var lines = [isReady ? (troubles.isEmpty ? "ok" : "ok, but:") : "not ready:"]
        lines += troubles.map { "  \($0)" }
        let facts = ["id", "version", "uptime_seconds"].compactMap { name in
            status[name].map { "\(name) \($0.string ?? $0.text)" }
        }
        lines.append(facts.joined(separator: "  "))
        if let swarm = status["swarm"] { lines.append(SwarmSummary.line(swarm)) }
        if let store = status["store"]?.object {
            let sizes = store.members.map { "\($0.key) \($0.value.string ?? $0.value.text)" }
            lines.append("store  " + sizes.joined(separator: "  "))
        }
        if let tls = status["tls"], tls.object != nil {
            lines += ServerCertificateVerb.words(tls).prefix(1).map { "https  \($0)" }
        }
        for model in status["models"]?.array ?? [] {
            lines.append("model  " + ModelsAtWork.line(model))
        }
        return lines.map { $0.shownOnTerminal + "\n" }.joined()
    }
}
