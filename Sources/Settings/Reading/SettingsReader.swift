import Core

/// Reads the schema (Schema.swift) from all sources at once. The schema asks for each key by name, kind, default and
/// one line of explanation; every source that has the key is checked, and the strongest one stands: default, then a
/// key's own fallback variable, file, `IGRIS_` variable, flag. Problems are collected, never thrown.
///
/// Asked without any source, the same schema yields the reference.
struct SettingsReader {
    /// The object that is read at present.
    struct Scope {
        /// `models[0]`; empty at the top.
        var name: String
        /// `models[]`: the name as the reference has it.
        var pattern: String
        /// Nil where the source does not have the object.
        var members: [String: JSON5.Member]?
        var position: Position
        var document: Document
        /// False inside lists, whose items have no variables.
        var isOverridable: Bool
        var asked: [String] = []
    }

    let surroundings: Surroundings
    let flags: Overrides
    /// True while the reference is made: nothing is given, and the items of lists are visited once.
    let isDescribing: Bool
    var scope: Scope
    var problems: [Problem] = []
    var notices: [String] = []
    var effective: [EffectiveValue] = []
    var descriptions: [KeyDescription] = []
    /// A secret stands in the file itself.
    var holdsLiteralSecret = false

    init(file: (root: JSON5, name: String)?, flags: Overrides, surroundings: Surroundings, isDescribing: Bool = false) {
        self.surroundings = surroundings
        self.flags = flags
        self.isDescribing = isDescribing
        let document = Document(name: file?.name ?? "", origin: .file)
        let start = Position(line: 1, column: 1)
        scope = Scope(
            name: "", pattern: "", members: nil, position: start, document: document, isOverridable: true)
        if let file { scope.members = members(of: file.root, named: "the settings", in: document) }
    }

    // MARK: What the schema asks

    /// A key with a default.
    mutating func value<Value>(
        _ key: String, _ kind: Kind<Value>, default standard: Value, _ summary: String
    ) -> Value {
        describe(key, kind, default: kind.show(standard), summary)
        return strongest(key, kind, default: kind.show(standard)) ?? standard
    }

    /// A path with a default that is relative as one in the file would be.
    mutating func path(_ key: String, default standard: String, _ summary: String) -> String {
        describe(key, Kind.path, default: .string(standard), summary)
        let resolved = surroundings.resolve(standard) ?? standard
        return strongest(key, .path, default: .string(resolved)) ?? resolved
    }

    /// A key that need not be given, unless `reason` is: then it is required for that.
    mutating func optional<Value>(
        _ key: String, _ kind: Kind<Value>, fallback variable: String? = nil, neededFor reason: String? = nil,
        _ summary: String
    ) -> Value? {
        describe(key, kind, fallback: variable, summary)
        if let reason, !isGiven(key) { refuse("\(full(key)) is required for \(reason)") }
        return strongest(key, kind, default: .null, isRequired: reason != nil, fallback: variable)
    }

    /// A key that must be given. Nil leaves a problem behind.
    mutating func required<Value>(_ key: String, _ kind: Kind<Value>, _ summary: String) -> Value? {
        describe(key, kind, isRequired: true, summary)
        if !isGiven(key) { refuse("\(full(key)) is required") }
        return strongest(key, kind, default: nil, isRequired: true)
    }

    /// An object of keys.
    mutating func section<Value>(
        _ key: String, _ summary: String, _ body: (inout SettingsReader) -> Value
    ) -> Value {
        add(KeyDescription(name: pattern(key), words: "an object", isSection: true, summary: summary), for: key)
        let node = scope.members?[key]?.value
        let name = full(key)
        let inner = Scope(
            name: name, pattern: pattern(key),
            members: node.flatMap { members(of: $0, named: name, in: scope.document) },
            position: node?.position ?? scope.position, document: scope.document, isOverridable: scope.isOverridable)
        return within(inner, body)
    }

    /// A list of objects; `body` reads one of them, told its index. An item that is no object is short for one with
    /// `shorthand` alone.
    mutating func items<Value>(
        _ key: String, default standard: String, shorthand: String? = nil, emptyIsAbsent: Bool = false,
        _ summary: String, _ body: (inout SettingsReader, Int) -> Value?
    ) -> [Value] {
        let words = shorthand.map { "a list of objects, or of texts that are their \"\($0)\"" } ?? "a list of objects"
        let variable = Self.variable(for: full(key))
        add(
            KeyDescription(
                name: pattern(key), words: words, isSection: true, defaultText: standard, variable: variable,
                summary: summary), for: key)
        if isDescribing {
            let inner = Scope(
                name: "\(full(key))[]", pattern: "\(pattern(key))[]", members: [:], position: scope.position,
                document: scope.document, isOverridable: false)
            _ = within(inner) { body(&$0, 0) }
            return []
        }
        var result: [Value] = []
        let before = effective.count
        let given = candidates(key, form: shorthand == nil ? .json5 : .list)
        for candidate in [Self.defaultItems(standard)] + given {
            let (node, document) = (candidate.node, candidate.document)
            guard case .array(let nodes) = node.value else {
                problems.append(document.problem(at: node.position, "\(full(key)) must be \(words), not \(node.kind)"))
                continue
            }
            if nodes.isEmpty, emptyIsAbsent { continue }
            // The list of the stronger source stands for the whole: nothing of the weaker one remains.
            effective.removeSubrange(before...)
            if nodes.isEmpty {
                effective.append(
                    EffectiveValue(key: full(key), shown: [], source: document.source(at: node.position)))
            }
            result = nodes.enumerated().compactMap { index, node in
                item(node, name: "\(full(key))[\(index)]", pattern: "\(pattern(key))[]", shorthand, in: document) {
                    body(&$0, index)
                }
            }
        }
        return result
    }

    private mutating func item<Value>(
        _ node: JSON5, name: String, pattern: String, _ shorthand: String?, in document: Document,
        _ body: (inout SettingsReader) -> Value?
    ) -> Value? {
        var members: [String: JSON5.Member]?
        if let shorthand, case .string = node.value {
            members = [shorthand: JSON5.Member(key: shorthand, keyPosition: node.position, value: node)]
        } else {
            members = self.members(of: node, named: name, in: document)
        }
        guard let members else { return nil }
        let inner = Scope(
            name: name, pattern: pattern, members: members, position: node.position, document: document,
            isOverridable: false)
        return within(inner, body)
    }

    // MARK: What rules between keys need

    /// By any of the sources.
    func isGiven(_ key: String) -> Bool {
        if scope.members?[key] != nil { return true }
        guard scope.isOverridable else { return false }
        return flags.values[full(key)] != nil || surroundings.variable(Self.variable(for: full(key))) != nil
    }

    /// A problem at a key of this object, or at the object itself.
    mutating func refuse(_ message: String, at key: String? = nil) {
        let position = key.flatMap { scope.members?[$0]?.value.position } ?? scope.position
        problems.append(scope.document.problem(at: position, message))
    }

    func full(_ key: String) -> String { scope.name.isEmpty ? key : "\(scope.name).\(key)" }
    func pattern(_ key: String) -> String { scope.pattern.isEmpty ? key : "\(scope.pattern).\(key)" }

    /// `IGRIS_SERVER_PORT` for `server.port`.
    static func variable(for name: String) -> String {
        "IGRIS_" + name.uppercased().split(separator: ".").joined(separator: "_")
    }
}
