import CFaultyDisk
import Core
import Glibc
import Testing

@testable import Store

/// Every step on the disk, of everything that a host does with its files: it fails once, it fails and all after it, the
/// power goes (docs/crash-safety.md). `make crash SEEDS=20` prints the table.
@Suite struct CrashConsistencyTests {
    private static let asked = getenv("IGRIS_CRASH_SEEDS").flatMap { UInt64(String(cString: $0)) }

    /// One scenario alone, where the environment names it.
    private static func asks(for name: String) -> Bool {
        getenv("IGRIS_CRASH_SCENARIO").map { String(cString: $0) == name } ?? true
    }

    /// One run alone, as failures name it: `IGRIS_CRASH_SCENARIO=append IGRIS_CRASH_RUN="cut 12 3"`, the seed last.
    private static let only: (mode: FaultyDisk.Mode, step: UInt64, seed: UInt64)? = {
        let words = getenv("IGRIS_CRASH_RUN").map { String(cString: $0).split(separator: " ") } ?? []
        guard words.count == 3, let mode = FaultyDisk.Mode.allCases.first(where: { "\($0)" == words[0] }),
            let step = UInt64(words[1]), let seed = UInt64(words[2])
        else { return nil }
        return (mode, step, seed)
    }()

    struct Tally {
        var steps: [FaultyDisk.Mode: UInt64] = [:]
        var runs = 0
        /// Runs after which something acknowledged was not there, and those after which something was wrong otherwise.
        var lost: [String] = []
        var damaged: [String] = []
    }

    @Test(
        "Whatever the disk does, at whatever step: all that was acknowledged is there",
        arguments: CrashScenario.all.filter { asks(for: $0.name) })
    func everyStep(_ scenario: CrashScenario) async throws {
        let template = Sandbox.inMemory()
        let ledger = try await scenario.prepare(CrashHome(sandbox: template, isMarked: scenario.isMarked))
        // Before anything of it can change.
        let start = template.copied()
        var tally = Tally()
        if let only = Self.only {
            _ = try await Self.run(scenario, from: start, ledger, only.mode, only.step, only.seed, &tally)
            #expect(tally.lost + tally.damaged == [])
            return
        }
        for mode in FaultyDisk.Mode.allCases {
            for seed in 1...(Self.asked ?? (mode == .cut ? 2 : 1)) {
                var step: UInt64 = 1
                while try await Self.run(scenario, from: start, ledger, mode, step, seed, &tally) { step += 1 }
                tally.steps[mode] = max(tally.steps[mode] ?? 0, step - 1)
            }
        }
        let found = tally.lost + tally.damaged
        #expect(
            found.isEmpty, "\(found.count) of \(tally.runs) runs, such as:\n\(found.prefix(8).joined(separator: "\n"))")
        #expect((tally.steps[.cut] ?? 0) > 5)
        guard Self.asked != nil else { return }
        let steps = FaultyDisk.Mode.allCases.map { "\(tally.steps[$0] ?? 0)" }.joined(separator: " | ")
        print("| \(scenario.name) | \(steps) | \(tally.runs) | \(tally.lost.count) | \(tally.damaged.count) |")
    }

    /// False where the scenario ended before the step.
    private static func run(
        _ scenario: CrashScenario, from start: Sandbox, _ before: CrashLedger, _ mode: FaultyDisk.Mode, _ step: UInt64,
        _ seed: UInt64, _ tally: inout Tally
    ) async throws -> Bool {
        let disk = try FaultyDisk(start.copied())
        disk.arm(mode, at: step, seed: seed)
        var ledger = before
        do {
            try await scenario.act(CrashHome(sandbox: disk.sandbox, isMarked: scenario.isMarked), &ledger)
        } catch is RuntimeError {
            // Refused, as it should be.
        }
        let isReached = disk.steps >= step
        let home = CrashHome(sandbox: disk.platter(seed: seed << 32 | step), isMarked: scenario.isMarked)
        tally.runs += 1
        let place = "\(scenario.name): \(mode) at \(step), seed \(seed)"
        do {
            if let found = try await examine(home, ledger) {
                if found.isLoss { tally.lost.append("\(place): \(found.words)") }
                if !found.isLoss { tally.damaged.append("\(place): \(found.words)") }
            } else if let words = try await scenario.examine(home, ledger) {
                tally.damaged.append("\(place): \(words)")
            }
        } catch {
            tally.damaged.append("\(place): \(error)")
        }
        return isReached
    }

    private static func examine(
        _ home: CrashHome, _ ledger: CrashLedger
    ) async throws -> (words: String, isLoss: Bool)? {
        if let node = ledger.node, try home.identity().node != node { return ("another identity", true) }
        let store = try await home.open()
        guard !store.isLocked else { return ("the key does not open it", true) }
        let found = try await examine(home, ledger, store)
        await store.close()
        return found
    }

    private static func examine(
        _ home: CrashHome, _ ledger: CrashLedger, _ store: SQLiteContextStore
    ) async throws -> (words: String, isLoss: Bool)? {
        if !store.mended.isEmpty { return ("made anew: \(store.mended)", false) }
        let recovered = try await store.recover()
        if let last = ledger.numbered[recovered.origin],
            recovered.heads.first(where: { $0.origin == recovered.origin })?.sequence ?? 0 < last
        {
            return ("numbers up to \(last) are given a second time", false)
        }
        let check = try await store.threads.read { reader throws(RuntimeError) in
            try reader.database.first("PRAGMA integrity_check") { $0.text(0) }
        }
        if check != "ok" { return ("integrity: \(check ?? "nothing")", false) }
        let damaged = Set(try await store.damaged(limit: .max))
        if !ledger.damaged.isEmpty, damaged.isSubset(of: ledger.damaged) { return nil }
        if !damaged.isEmpty { return ("\(damaged.count) rows do not open", false) }
        let left = try await store.threads.read { reader throws(RuntimeError) in
            var walk = BackupWalk(reader, version: "")
            while try walk.step() != nil {}
            return walk.counts.left
        }
        if left > 0 { return ("\(left) rows of other tables do not open", false) }
        var differences: [String] = []
        for candidate in ledger.candidates {
            guard let difference = try await candidate.difference(from: store) else {
                var after = CrashLedger(candidate)
                try await after.turns(1, of: home, to: store)
                guard after.doubtful.isEmpty else { return ("nothing more can be written", false) }
                return try await after.present.difference(from: store).map { ("after one more turn: \($0)", false) }
            }
            differences.append(difference)
        }
        return ("of \(differences.count) states none: \(differences)", true)
    }
}
