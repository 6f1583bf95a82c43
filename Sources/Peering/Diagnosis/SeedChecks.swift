import Core

/// The hosts that the settings name.
enum SeedChecks {
    static let all: [PeerDoctor.Check] = [resolvable, reachable]

    static func resolvable(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("seeds.resolve", "The names in mcp.seeds have addresses")
        guard !subject.seeds.isEmpty else { return check.skipped("mcp.seeds is empty") }
        let failed = facts.seeds.filter { $0.failure != nil }
        return failed.isEmpty
            ? check.ok(facts.seeds.map(\.seed.description).listed)
            : check.fail(
                failed.map { "\($0.seed.host): \($0.failure ?? "")" }.listed,
                fix: "correct the names in mcp.seeds, or write addresses")
    }

    static func reachable(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("seeds.reach", "The hosts in mcp.seeds can be connected to")
        guard !subject.seeds.isEmpty else { return check.skipped("mcp.seeds is empty") }
        let tried = facts.seeds.filter { !$0.outcomes.isEmpty }
        guard !tried.isEmpty else { return check.skipped("none has an address") }
        let failed = tried.filter { !$0.outcomes.contains(.reached) }
        guard !failed.isEmpty else { return check.ok(tried.map(\.seed.description).listed) }
        let finding = failed.map { "\($0.seed): \($0.outcomes.first?.words ?? "")" }.listed
        let fix = "start igris-runtime there, and let its TCP port in; without a port in mcp.seeds 8080 is meant"
        return failed.count == tried.count ? check.fail(finding, fix: fix) : check.warn(finding, fix: fix)
    }
}
