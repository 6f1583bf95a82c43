package import Core

/// Finds out why hosts do not see one another: `igris-runtime doctor peers` and `GET /v1/mcp/diagnostics`. Everything
/// is looked at at the same time, within ten seconds; each check is a function from what was found to one verdict.
package enum PeerDoctor {
    /// One verdict, from the daemon's facts and the machine's.
    typealias Check = @Sendable (DoctorSubject, LocalFacts) -> DiagnosticCheck

    /// The checks in the order of their telling: what is nearest to this machine first.
    package static func examine(_ subject: DoctorSubject) async -> [DiagnosticCheck] {
        judge(subject, await FactGatherer(subject: subject).gather())
    }

    /// Pure, so that every verdict can be tried on made-up facts.
    static func judge(_ subject: DoctorSubject, _ facts: LocalFacts) -> [DiagnosticCheck] {
        let checks: [Check] =
            SettingsChecks.all + InterfaceChecks.all + MulticastChecks.all + ServiceChecks.all + ServerChecks.all
            + MachineChecks.all + SeedChecks.all + PeerChecks.all
        return checks.map { $0(subject, facts) }
    }
}

/// One subject of a check, whose id and title all its verdicts share.
struct Finding {
    let id: String
    let title: String

    init(_ id: String, _ title: String) {
        self.id = id
        self.title = title
    }

    func ok(_ finding: String) -> DiagnosticCheck { check(.ok, finding) }
    func warn(_ finding: String, fix: String) -> DiagnosticCheck { check(.warn, finding, fix) }
    func fail(_ finding: String, fix: String) -> DiagnosticCheck { check(.fail, finding, fix) }
    func skipped(_ finding: String) -> DiagnosticCheck { check(.skipped, finding) }

    private func check(
        _ verdict: DiagnosticCheck.Verdict, _ finding: String, _ fix: String? = nil
    ) -> DiagnosticCheck {
        DiagnosticCheck(id: id, title: title, verdict: verdict, finding: finding, fix: fix)
    }
}

/// Lists for sentences.
extension Sequence<String> {
    var listed: String { joined(separator: ", ") }
}
