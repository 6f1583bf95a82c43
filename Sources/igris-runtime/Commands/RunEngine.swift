import ArgumentParser
import BuiltinModel

/// `igris-runtime engine`: the built-in model as the daemon's child; docs/engine-protocol.md is what it speaks.
struct RunEngine: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engine",
        abstract: "Run the built-in model over standard input and output (docs/engine-protocol.md).")

    @Option(help: "A GGUF file for the built-in runner; without it the demonstration model igris-recall.")
    var model: String?

    @Option(help: "Write at most this many tokens a second; for demonstrations and tests.")
    var pace: Double?

    @Option(help: "How many answers are written at the same time.")
    var slots = 4

    func validate() throws {
        guard EngineProgram.slotRange.contains(slots) else {
            throw Self.outside("--slots", EngineProgram.slotRange)
        }
        if let pace, !EngineProgram.paceRange.contains(pace) {
            throw Self.outside("--pace", EngineProgram.paceRange)
        }
    }

    private static func outside(_ flag: String, _ range: ClosedRange<some Comparable>) -> ValidationError {
        ValidationError("\(flag) takes \(range.lowerBound) to \(range.upperBound)")
    }

    func run() throws {
        MemorySecrecy.begin()
        let code = EngineProgram.run(model: model.map(ModelSource.file) ?? .embedded, pace: pace, slots: slots)
        if code != 0 { throw ExitCode(code) }
    }
}
