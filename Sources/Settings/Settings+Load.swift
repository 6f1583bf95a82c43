import Core
import Glibc

/// Values given on the command line, by the full name of their key. They win over everything else.
package struct Overrides: Sendable {
    struct Value: Sendable {
        var text: String
        /// As the user typed it, for messages: `--port`.
        var flag: String
    }

    private(set) var values: [String: Value] = [:]

    package init() {}

    /// `set("server.port", to: "8081", by: "--port")`; nil leaves the key alone. Text is read as an `IGRIS_` variable
    /// is.
    package mutating func set(_ key: String, to text: String?, by flag: String) {
        if let text { values[key] = Value(text: text, flag: flag) }
    }
}

extension Settings {
    /// Resolves all sources, once: flags, then `IGRIS_` variables, then the file, then defaults.
    ///
    /// - Parameters:
    ///   - file: The configuration file as the user named it; nil for none.
    ///   - environment: The whole environment of the process.
    ///   - workingDirectory: Absolute; nil asks the system.
    /// - Throws: ``SettingsError`` with everything that is wrong (exit code 78).
    package static func load(
        file: String? = nil, flags: Overrides = Overrides(), environment: [String: String],
        workingDirectory: String? = nil
    ) throws(SettingsError) -> Settings {
        let start = workingDirectory ?? currentDirectory()
        let surroundings = Surroundings(environment: environment, folder: start)
        guard let file else {
            return try read(nil, flags: flags, surroundings: surroundings)
        }
        let content = try SettingsFile.read(file)
        var settings = try read(
            (content.bytes, file), flags: flags,
            surroundings: Surroundings(environment: environment, folder: surroundings.folder(ofFile: file)))
        if settings.holdsLiteralSecret, content.isReadableByOthers {
            settings.notices.append("\(file): holds a secret, and other users of this machine may read it: chmod 600")
        }
        return settings
    }

    /// As ``load(file:flags:environment:workingDirectory:)``, from the bytes of a file; `name` stands in messages.
    static func read(
        _ file: (bytes: [UInt8], name: String)?, flags: Overrides, surroundings: Surroundings
    ) throws(SettingsError) -> Settings {
        var root: (root: JSON5, name: String)?
        if let file {
            do throws(JSON5Error) {
                root = (try JSON5Reader.read(file.bytes), file.name)
            } catch {
                throw SettingsError(problems: [
                    Problem(source: file.name, position: error.position, message: error.message)
                ])
            }
        }
        var reader = SettingsReader(file: root, flags: flags, surroundings: surroundings)
        var settings = Settings(reading: &reader)
        reader.refuseUnknownKeys()
        reader.refuseUnknownFlags()
        guard reader.problems.isEmpty else { throw SettingsError(problems: inOrder(reader.problems, file: file?.name)) }
        settings.notices = reader.notices + reader.unknownVariables()
        settings.effective = reader.effective
        settings.holdsLiteralSecret = reader.holdsLiteralSecret
        return settings
    }

    /// The file's problems first, from top to bottom; at most ``Problem/mostShown`` and a count of the others.
    private static func inOrder(_ problems: [Problem], file: String?) -> [Problem] {
        var ranks: [String: Int] = file.map { [$0: 0] } ?? [:]
        for problem in problems where ranks[problem.source] == nil { ranks[problem.source] = ranks.count }
        let places = problems.enumerated().map { offset, problem in
            let position = problem.position ?? Position(line: 0, column: 0)
            return (rank: ranks[problem.source] ?? 0, position: position, offset: offset, problem: problem)
        }
        let sorted = places.sorted {
            ($0.rank, $0.position, $0.offset) < ($1.rank, $1.position, $1.offset)
        }
        .map(\.problem)
        guard sorted.count > Problem.mostShown else { return sorted }
        let rest = Problem(
            source: file ?? "settings", message: "\(sorted.count - Problem.mostShown) further problems are not shown")
        return sorted.prefix(Problem.mostShown) + [rest]
    }

    private static func currentDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }
}
