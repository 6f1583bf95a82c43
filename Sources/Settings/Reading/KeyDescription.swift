import Core

/// One key as the reference tells it.
struct KeyDescription: Sendable {
    /// Full name, `server.port`; `models[].name` for a key of the items of a list.
    var name: String
    /// The allowed values, in words that follow "must be".
    var words: String
    var isSection = false
    var isRequired = false
    var isSecret = false
    /// Nil where the key has no default.
    var defaultValue: JSON?
    /// The default as it would be written in the file, where ``defaultValue`` is not enough.
    var defaultText: String?
    /// The variable that sets it; nil inside lists.
    var variable: String?
    /// A variable with a name of its own that counts where nothing else sets the key.
    var fallbackVariable: String?
    var summary: String

    /// The name within its section.
    var lastName: String { name.split(separator: ".").last.map(String.init) ?? name }
}
