import Core

/// What a program says about itself: asked once, before its first run.
struct ProgramProbe: Sendable {
    /// `b11669-Debian`, or `unknown`.
    var build: String
    /// Every flag in its help text.
    var flags: Set<String>

    /// The build of a program that does not tell.
    static let unknownBuild = "unknown"

    /// Runs the program with `--version` and with `--help`.
    ///
    /// - Throws: ``RuntimeError`` `.configuration` when it lacks a flag of `required`; `.unavailable` when it cannot
    ///   be run or does not answer in time.
    init(_ command: ChildCommand, required: [String], of program: String, deadline: Duration) async throws {
        build = Self.build(in: try await Self.answer(of: command, to: "--version", within: deadline))
        flags = Self.flags(in: try await Self.answer(of: command, to: "--help", within: deadline))
        if let missing = required.first(where: { !flags.contains($0) }) {
            throw RuntimeError(
                .configuration,
                "\(command.name) does not know \(missing); name \(program) in the model's command")
        }
    }

    /// Both streams: builds differ in which they use.
    private static func answer(
        of command: ChildCommand, to flag: String, within deadline: Duration
    ) async throws -> String {
        let output = TailBuffer(limit: 512 * 1024)
        let errors = TailBuffer(limit: 512 * 1024)
        try await withDeadline(deadline, "\(command.name) did not answer \(flag) in time") {
            _ = try await withChild(command.appending([flag]), stderr: errors) { child in
                await child.closeInput()
                try await child.readOutput { output.append($0) }
            }
        }
        return output.text + "\n" + errors.text
    }

    /// `version: 10235 (221f0f635)`, `version: 0.7.0 (build 11669, commit Debian)`.
    static func build(in text: String) -> String {
        guard let line = text.split(whereSeparator: \.isNewline).first(where: { $0.contains("version:") }),
            let start = line.firstRange(of: "version:")?.upperBound
        else { return unknownBuild }
        let words = line[start...].split { !$0.isLetter && !$0.isNumber && $0 != "." && $0 != "-" && $0 != "_" }
        func word(after key: Substring) -> Substring? {
            words.firstIndex(of: key).flatMap { words.index(after: $0) < words.endIndex ? words[$0 + 1] : nil }
        }
        let parts = [word(after: "build") ?? words.first, word(after: "commit") ?? words.dropFirst().first]
        let label = parts.compactMap { $0?.prefix(40) }.joined(separator: "-")
        return label.isEmpty ? unknownBuild : "b\(label)"
    }

    static func flags(in text: String) -> Set<String> {
        let words = text.split { $0.isWhitespace || $0 == "," || $0 == "[" || $0 == "]" }
        return Set(words.filter { $0.hasPrefix("-") && $0.count > 1 }.map(String.init))
    }
}

/// Runs `work`, cancels it when it takes too long.
///
/// - Throws: ``RuntimeError`` `.unavailable` with `message` then; what `work` throws.
func withDeadline(
    _ deadline: Duration, _ message: String, work: @escaping @Sendable () async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await work() }
        group.addTask {
            try await Task.sleep(for: deadline)
            throw RuntimeError(.unavailable, message)
        }
        defer { group.cancelAll() }
        try await group.next()
    }
}
