import ArgumentParser
import Core
import Peering
import Settings

/// `igris-runtime doctor`: finds out what is wrong, and says what to do.
struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find out what is wrong; exit code 0 for nothing, 1 for warnings, 2 for failures.",
        subcommands: [DoctorPeers.self], defaultSubcommand: DoctorPeers.self)
}

/// `igris-runtime doctor peers`: why do hosts not see one another?
struct DoctorPeers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peers", abstract: "Find out why hosts do not see one another; takes up to 10 seconds.",
        discussion: "Asks the daemon, and looks by itself where none answers.")

    @OptionGroup var daemon: DaemonOptions

    @Flag(name: .shortAndLong, help: "Show what is in order, too.")
    var verbose = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        var worst = DiagnosticCheck.Verdict.ok
        try await reporting {
            let report = try await examine()
            Terminal.write(json ? report.text + "\n" : page(report))
            worst = report["verdict"]?.string.flatMap { DiagnosticCheck.Verdict(rawValue: $0) } ?? .fail
        }
        if worst == .warn { throw ExitCode(1) }
        if worst == .fail { throw ExitCode(2) }
    }

    private func examine() async throws -> JSON {
        let client = try DaemonClient(daemon, environment: Environment.variables)
        do {
            let report = try await client.send(.get, "/v1/mcp/diagnostics", patience: .seconds(30)).json()
            let status = try await client.send(.get, "/v1/status").json()
            return Self.adding(reasons: status["reasons"], to: Self.adding(status["tls"], to: report))
        } catch let error as RuntimeError where error.code == .unavailable {
            let settings = try daemon.settings()
            let folder = try StateFolder(environment: Environment.variables)
            Terminal.complain("no daemon answers at \(client.address); this is what can be seen without one")
            let checks = await PeerDoctor.examine(DoctorSubject(settings, folder: folder))
            return [
                "verdict": .string((checks.map(\.verdict).max() ?? .fail).rawValue),
                "checks": .array(checks.map(Self.json)),
            ]
        }
    }

    /// What the daemon itself says it cannot do at present: a disk that is full, damage, a model that does not start.
    private static func adding(reasons: JSON?, to report: JSON) -> JSON {
        let reasons = (reasons?.array ?? []).compactMap(\.string)
        let check = DiagnosticCheck(
            id: "host", title: "this host does all that it should", verdict: reasons.isEmpty ? .ok : .warn,
            finding: reasons.isEmpty ? "it says that nothing is wrong" : reasons.joined(separator: "; "),
            fix: reasons.isEmpty ? nil : "do what it says; igris-runtime status shows whether that was it")
        return adding(check, to: report)
    }

    private static func adding(_ check: DiagnosticCheck, to report: JSON) -> JSON {
        guard var members = report.object else { return report }
        let verdicts = [report["verdict"]?.string.flatMap { DiagnosticCheck.Verdict(rawValue: $0) }, check.verdict]
        members["verdict"] = .string((verdicts.compactMap(\.self).max() ?? .ok).rawValue)
        members["checks"] = .array((report["checks"]?.array ?? []) + [json(check)])
        return .object(members)
    }

    /// The certificate that clients are shown, as one finding more.
    private static func adding(_ tls: JSON?, to report: JSON) -> JSON {
        guard let tls, tls.object != nil else { return report }
        let trouble = tls["trouble"]?.string
        let check = DiagnosticCheck(
            id: "https", title: "https for clients", verdict: trouble == nil ? .ok : .warn,
            finding: trouble ?? ServerCertificateVerb.words(tls).first ?? "",
            fix: trouble == nil
                ? nil : "put a certificate and its key there that belong together; it is looked at every 2 s")
        return adding(check, to: report)
    }

    /// As the daemon's page has it.
    private static func json(_ check: DiagnosticCheck) -> JSON {
        [
            "id": .string(check.id), "title": .string(check.title), "verdict": .string(check.verdict.rawValue),
            "finding": .string(check.finding), "fix": check.fix.map { .string($0) } ?? .null,
        ]
    }

    /// What is wrong first in words, then each finding with what to do.
    private func page(_ report: JSON) -> String {
        let checks = report["checks"]?.array ?? []
        let counts = ["fail", "warn", "ok", "skipped"].map { (verdict: String) in
            (verdict, checks.filter { $0["verdict"]?.string == verdict }.count)
        }
        var lines = [
            counts.filter { $0.1 > 0 }.map { "\($0.1) \($0.0)" }.joined(separator: ", ")
                + (verbose || counts.allSatisfy { $0.1 == 0 || $0.0 == "fail" || $0.0 == "warn" }
                    ? "" : " (-v shows all)")
        ]
        for (verdict, _) in counts where verbose || verdict == "fail" || verdict == "warn" {
            for check in checks where check["verdict"]?.string == verdict {
                let finding = check["finding"]?.string ?? ""
                lines.append("\(verdict)  \(check["title"]?.string ?? "?"): \(finding)".shownOnTerminal)
                if let fix = check["fix"]?.string { lines.append("      -> \(fix)".shownOnTerminal) }
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
