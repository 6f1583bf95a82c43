import Core

/// `docs/configuration.md`, made from the schema; a test keeps the file current.
extension Settings {
    package static func reference() -> String {
        keys.filter(\.isSection).reduce(introduction) { $0 + part(of: $1) }
    }

    /// The heading of one object or list, and the table of its own keys.
    private static func part(of section: KeyDescription) -> String {
        let isList = section.defaultText != nil
        let prefix = section.name + (isList ? "[]." : ".")
        var text = "\n## `\(section.name)`\n\n\(section.summary)\n"
        if let standard = section.defaultText {
            let variable = section.variable.map { ", `\($0)`" } ?? ""
            text += "\nMust be \(section.words). Default: `\(standard)`\(variable)\n"
        }
        text += "\n| Key | Must be | Default | Variable | What it does |\n|---|---|---|---|---|\n"
        for key in keys where !key.isSection && key.name.hasPrefix(prefix) {
            let name = key.name.dropFirst(prefix.count)
            guard !name.contains(".") else { continue }
            text += row(of: key, name: String(name))
        }
        return text
    }

    private static func row(of key: KeyDescription, name: String) -> String {
        var standard = "–"
        if key.isRequired { standard = "required" }
        if let value = key.defaultValue { standard = "`\(value.text)`" }
        let variables = [key.variable, key.fallbackVariable].compactMap { $0.map { "`\($0)`" } }
        var summary = key.summary
        if key.isSecret { summary += " Secret: never shown." }
        let words = key.words.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
        return "| `\(name)` | \(words) | \(standard) | \(variables.joined(separator: ", ")) | \(summary) |\n"
    }

    private static let introduction = #"""
        # Configuration

        This page is made from the schema in `Sources/Settings`; `make test` fails when it is not current.

        `igris-runtime --config config.json5` reads one JSON5 file. Every key is optional and an empty file is a
        configuration; `config.example.json5` shows all keys. `igris-runtime check --config config.json5` checks a file,
        and shows the value of every key and where it came from. What is wrong is told all at once, as
        `file:line:column: message`, and the exit code is 78. An unknown or duplicate key is wrong too: a mistyped
        `encryption_key` must not start an open daemon.

        - **Precedence**: flags (`--port`, `--host`), then environment variables, then the file, then defaults.
        - **Environment variables**: each key outside lists has the variable named in its table. Its text is the value;
          lists are written with commas or as JSON5, lists of objects as JSON5. An empty variable counts as unset. A
          variable that begins with `IGRIS_` and names no key is reported, and ignored.
        - **References**: in a text of the file, `${NAME}` is replaced by that variable and `${NAME:-default}` by the
          default where it is unset; `$${` stands for `${`. Where a variable is unset and has no default, the key is
          left out and a notice says so; for a required key that is an error.
        - **Paths** that are relative begin at the folder of the configuration file, or at the working directory without
          one; `~/` is the home folder.
        - **Secrets** are never shown. Keep them in variables, or the file readable by its owner alone.
        - **JSON5**: comments, keys without quotes, single quotes, trailing commas, hexadecimal numbers.

        """#
}
