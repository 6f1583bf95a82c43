import Core
import Glibc
import Simulation

/// Runs seeds of the simulated swarm on all processors and says which of them broke an invariant (docs/simulation.md).
///
///     swarm-simulator [--seeds N] [--start SEED] [--seconds S] [--hosts N] [--faults NAMES] [--bug NAME] [--trace]
@main
enum SwarmSimulator {
    static func main() async {
        guard let command = Command(CommandLine.arguments.dropFirst()) else {
            print(Command.usage)
            exit(64)
        }
        guard command.broadcasts.isEmpty else {
            for hosts in command.broadcasts {
                for line in OverlayWorld.figures(hosts: hosts, seed: 1) { print(line) }
            }
            return
        }
        if command.isServing { exit(await Self.serve(command) ? 0 : 1) }
        if command.comparesSWIM { exit(await Self.compare(command) ? 0 : 1) }
        let start = ContinuousClock.now
        let reports = await command.run()
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        for report in reports where !report.violations.isEmpty {
            print("seed \(report.seed): \(report.hosts) hosts, faults \(report.faults)")
            for violation in report.violations { print("  \(violation)") }
            print("  replay: \(CommandLine.arguments[0]) \(command.options(report.seed).flags) --trace")
        }
        print(Self.summary(reports, seconds: seconds))
        exit(reports.contains { !$0.violations.isEmpty } ? 1 : 0)
    }

    /// I19: how many hosts that live are taken for dead, with plain SWIM and with Lifeguard. False where Lifeguard saves
    /// less than 49 of 50.
    private static func compare(_ command: Command) async -> Bool {
        let plain = await command.starved(isPlain: true).run()
        let guarded = await command.starved(isPlain: false).run()
        func deaths(_ reports: [RunReport]) -> (others: Int, starved: Int) {
            (reports.reduce(0) { $0 + $1.falseDeaths }, reports.reduce(0) { $0 + $1.starvedDeaths })
        }
        let (without, with) = (deaths(plain), deaths(guarded))
        print(
            "\(plain.count) seeds, one host of \(plain.first?.hosts ?? 0) starved; living hosts taken for dead, each "
                + "host that does so counted: plain SWIM \(without.others) (and the starved one \(without.starved)), "
                + "Lifeguard \(with.others) (\(with.starved))")
        return with.others * 50 <= without.others && without.others > 0
    }

    /// False where a seed broke an invariant.
    private static func serve(_ command: Command) async -> Bool {
        let start = ContinuousClock.now
        let reports = await command.serve()
        let tenths = Int((ContinuousClock.now - start) / .milliseconds(100))
        let broken = reports.filter { !$0.violations.isEmpty }
        for report in broken {
            print("seed \(report.seed): \(report.hosts) hosts")
            for violation in report.violations { print("  \(violation)") }
            print("  replay: \(CommandLine.arguments[0]) --serving --seeds 1 --start \(report.seed)")
        }
        func sum(_ count: (ServingReport) -> Int) -> Int { reports.reduce(0) { $0 + count($1) } }
        let ends = ServingWorld.End.allCases.map { end in "\(sum { $0.ends[end] ?? 0 }) \(end.rawValue)" }
        print(
            "\(reports.count) seeds, \(broken.count) with violations, \(sum(\.asks)) requests: "
                + "\(ends.joined(separator: ", ")); \(sum(\.moves)) moved (\(sum(\.steals)) stolen), "
                + "\(sum(\.failovers)) went on elsewhere, \(sum(\.takenUp)) taken up; \(sum(\.events)) events, "
                + "\(tenths / 10).\(tenths % 10) s")
        return broken.isEmpty
    }

    private static func summary(_ reports: [RunReport], seconds: Double) -> String {
        let broken = reports.count { !$0.violations.isEmpty }
        let recoveries = reports.compactMap(\.recovery).sorted()
        let slowest = recoveries.last.map { "\(Int($0 / .milliseconds(1))) ms" } ?? "none"
        let median = recoveries.isEmpty ? "none" : "\(Int(recoveries[recoveries.count / 2] / .milliseconds(1))) ms"
        let hash = reports.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ $1.traceHash) &* 0x100_0000_01B3 }
        let tenths = Int(seconds * 10)
        return
            "\(reports.count) seeds, \(broken) with violations, \(reports.reduce(0) { $0 + $1.operations }) operations, "
            + "\(reports.reduce(0) { $0 + $1.acknowledged }) acknowledged, \(reports.reduce(0) { $0 + $1.events }) events; "
            + "recovery p50 \(median), slowest \(slowest); "
            + "\(tenths / 10).\(tenths % 10) s; trace \(String(hash, radix: 16))"
    }
}
