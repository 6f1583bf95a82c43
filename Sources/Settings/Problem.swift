/// A place in a text: line and column from 1, columns counted in characters (Unicode scalars).
package struct Position: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var line: Int
    package var column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    package var description: String { "\(line):\(column)" }

    package static func < (left: Position, right: Position) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// One thing that is wrong with the settings, and where. Never holds a secret's value.
package struct Problem: Error, Hashable, CustomStringConvertible {
    /// The file as it was named, or the variable or flag that gave the value.
    package var source: String
    /// Nil where the source has no lines.
    package var position: Position?
    package var message: String

    /// More than these are counted, not shown.
    static let mostShown = 100

    package init(source: String, position: Position? = nil, message: String) {
        self.source = source
        self.position = position
        self.message = message
    }

    /// `config.json5:3:12: message`
    package var description: String {
        position.map { "\(source):\($0): \(message)" } ?? "\(source): \(message)"
    }
}

/// The settings cannot be used: everything that is wrong with them, in the order of the text. Exit code 78.
package struct SettingsError: Error, Sendable, CustomStringConvertible {
    package var problems: [Problem]

    package init(problems: [Problem]) { self.problems = problems }

    package var description: String { problems.map(\.description).joined(separator: "\n") }
}
