import Core
import Glibc
import Simulation

/// The command line.
struct Command: Sendable {
    static let usage = """
        usage: swarm-simulator [--seeds N] [--start SEED] [--seconds S] [--hosts N] [--faults NAMES] [--mesh-limit N]
                               [--bug NAME] [--stall MS] [--plain-swim] [--compare-swim] [--trace]
               swarm-simulator --serving [--seeds N] [--start SEED] [--bug NAME]
               swarm-simulator --broadcasts HOSTS,HOSTS,…
          --faults  names with commas between them, "all" or "none"; each seed draws its own otherwise
          --bug     plants one of: \(Bug.allCases.map(\.rawValue).joined(separator: " "))
          --serving     the router, queues, links for work and continuation instead of the log
                      --bug is one of: \(ServingBug.allCases.map(\.rawValue).joined(separator: " "))
          --broadcasts  what a broadcast takes in swarms of these sizes, with the shipped overlay alone
          --stall   how long a starved host stands still at a time, about
          --plain-swim    membership without Lifeguard
          --compare-swim  counts false deaths with and without Lifeguard while one of 10 hosts is starved (I19)
          --trace   prints what happens; for one seed

        """

    private var seeds = 100
    private var start: UInt64 = 1
    private var template = RunOptions(seed: 0)
    private var isTraced = false
    /// Not empty: nothing else is done.
    private(set) var broadcasts: [Int] = []
    private(set) var comparesSWIM = false
    private(set) var isServing = false
    private var servingBug: ServingBug?
    private var stalls: [Duration] = []

    /// Nil for anything that is not understood.
    init?(_ arguments: some Sequence<String>) {
        var rest = Array(arguments)[...]
        while let flag = rest.popFirst() {
            switch flag {
            case "--trace":
                isTraced = true
                continue
            case "--serving":
                isServing = true
                continue
            case "--plain-swim":
                template.isPlainSWIM = true
                continue
            case "--compare-swim":
                comparesSWIM = true
                continue
            default: break
            }
            guard let value = rest.popFirst() else { return nil }
            switch flag {
            case "--seeds":
                guard let number = Int(value), number > 0 else { return nil }
                seeds = number
            case "--start":
                guard let number = UInt64(value) else { return nil }
                start = number
            case "--seconds":
                guard let number = Int(value), (20...86_400).contains(number) else { return nil }
                template.length = .seconds(number)
            case "--hosts":
                guard let number = Int(value), (2...128).contains(number) else { return nil }
                template.hosts = number
            case "--stall":
                guard let number = Int(value), (1...60_000).contains(number) else { return nil }
                template.stall = .milliseconds(number)
            case "--faults":
                guard let faults = Faults(names: value) else { return nil }
                template.faults = faults
            case "--mesh-limit":
                guard let number = Int(value), (2...128).contains(number) else { return nil }
                template.meshLimit = number
            case "--broadcasts":
                broadcasts = value.split(separator: ",").compactMap { Int($0) }
                guard !broadcasts.isEmpty, broadcasts.allSatisfy((2...10_000).contains) else { return nil }
            case "--bug":
                template.bug = Bug(rawValue: value)
                servingBug = ServingBug(rawValue: value)
                guard isServing ? servingBug != nil : template.bug != nil else { return nil }
            default: return nil
            }
        }
    }

    func options(_ seed: UInt64) -> RunOptions {
        var options = template
        options.seed = seed
        if !stalls.isEmpty { options.stall = stalls[Int(seed % UInt64(stalls.count))] }
        return options
    }

    /// The world of I19: one host of ten gets half of a processor, in slices of another length for each seed.
    func starved(isPlain: Bool) -> Command {
        var command = self
        command.template.isPlainSWIM = isPlain
        command.template.faults = .starvation
        command.template.hosts = template.hosts ?? 10
        command.stalls = [.milliseconds(300), .seconds(1), .seconds(2), .seconds(4)]
        return command
    }

    /// All seeds, ascending.
    func run() async -> [RunReport] {
        let lines: (@Sendable (String) -> Void)? = isTraced ? { @Sendable (line: String) in print(line) } : nil
        return await each { seed in World.run(options(seed), print: lines) }.sorted { $0.seed < $1.seed }
    }

    /// All seeds of the world in which hosts answer, ascending.
    func serve() async -> [ServingReport] {
        await each { [servingBug] in ServingWorld.run(seed: $0, bug: servingBug) }.sorted { $0.seed < $1.seed }
    }

    private func each<Report: Sendable>(_ run: @Sendable @escaping (UInt64) -> Report) async -> [Report] {
        let workers = isTraced ? 1 : max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        return await withTaskGroup(of: [Report].self) { group in
            for worker in 0..<workers {
                group.addTask { [seeds, start] in
                    stride(from: worker, to: seeds, by: workers).map { run(start &+ UInt64($0)) }
                }
            }
            var reports: [Report] = []
            for await some in group { reports += some }
            return reports
        }
    }
}
