import Core

/// One source's value of a key.
struct Candidate {
    var node: JSON5
    var document: Document
}

/// What the sources say about one key.
extension SettingsReader {
    /// Checks every source's value and returns the strongest; `standard` is what is shown where none has one.
    mutating func strongest<Value>(
        _ key: String, _ kind: Kind<Value>, default standard: JSON?, isRequired: Bool = false, fallback: String? = nil
    ) -> Value? {
        guard !isDescribing else { return nil }
        var result: Value?
        var shown = standard
        var source = ValueSource.default
        for candidate in candidates(key, form: kind.textForm, fallback: fallback) {
            var reading = Reading(
                surroundings: surroundings, expandsReferences: candidate.document.expandsReferences, name: full(key))
            let value = kind.read(candidate.node, &reading)
            take(reading, from: candidate.document, isRequired: isRequired)
            guard let value else { continue }
            result = value
            shown = kind.show(value)
            source = candidate.document.source(at: candidate.node.position)
        }
        if let shown { effective.append(EffectiveValue(key: full(key), shown: shown, source: source)) }
        return result
    }

    /// Everything that gives the key, the weakest first.
    mutating func candidates(_ key: String, form: TextForm, fallback: String? = nil) -> [Candidate] {
        var result: [Candidate] = []
        if let fallback { add(variable: fallback, form, to: &result) }
        if let node = scope.members?[key]?.value { result.append(Candidate(node: node, document: scope.document)) }
        guard scope.isOverridable else { return result }
        add(variable: Self.variable(for: full(key)), form, to: &result)
        if let flag = flags.values[full(key)] {
            add(RawText(text: flag.text, document: Document(name: flag.flag, origin: .flag)), form, to: &result)
        }
        return result
    }

    private mutating func add(variable name: String, _ form: TextForm, to candidates: inout [Candidate]) {
        guard let text = surroundings.variable(name) else { return }
        add(RawText(text: text, document: Document(name: name, origin: .environment)), form, to: &candidates)
    }

    private mutating func add(_ raw: RawText, _ form: TextForm, to candidates: inout [Candidate]) {
        do throws(Problem) {
            candidates.append(try raw.candidate(form))
        } catch {
            problems.append(error)
        }
    }

    private mutating func take(_ reading: Reading, from document: Document, isRequired: Bool) {
        for (position, message) in reading.refusals { problems.append(document.problem(at: position, message)) }
        for (position, name, variables) in reading.absences {
            let unset =
                variables.count == 1
                ? "the environment variable \(variables.joined()) is not set"
                : "the environment variables \(variables.joined(separator: ", ")) are not set"
            if isRequired {
                problems.append(document.problem(at: position, "\(name) is required, and \(unset)"))
            } else {
                notices.append("\(document.problem(at: position, "\(name) is left out: \(unset)"))")
            }
        }
        if reading.holdsLiteralSecret, document.origin == .file { holdsLiteralSecret = true }
    }

    /// The schema's own text for a list; a test reads all of them.
    static func defaultItems(_ text: String) -> Candidate {
        let document = Document(name: "default", origin: .default)
        do throws(JSON5Error) {
            return Candidate(node: try JSON5Reader.read(text.utf8), document: document)
        } catch {
            preconditionFailure("the schema's default \(text) is not JSON5: \(error.message)")
        }
    }
}

/// Keys, known and unknown.
extension SettingsReader {
    mutating func within<Value>(_ inner: Scope, _ body: (inout SettingsReader) -> Value) -> Value {
        let outer = scope
        scope = inner
        let value = body(&self)
        refuseUnknownKeys()
        scope = outer
        return value
    }

    /// The members of an object by key. Nil, with a problem, for anything else; a duplicate is a problem too.
    mutating func members(of node: JSON5, named name: String, in document: Document) -> [String: JSON5.Member]? {
        guard case .object(let members) = node.value else {
            problems.append(document.problem(at: node.position, "\(name) must be an object, not \(node.kind)"))
            return nil
        }
        var result: [String: JSON5.Member] = [:]
        for member in members {
            if let first = result[member.key] {
                let line = first.keyPosition.line
                problems.append(
                    document.problem(
                        at: member.keyPosition, "duplicate key \(quoted(member.key)); the first one is on line \(line)")
                )
            } else {
                result[member.key] = member
            }
        }
        return result
    }

    mutating func refuseUnknownKeys() {
        guard let members = scope.members else { return }
        let unknown = members.values.filter { !scope.asked.contains($0.key) }
        for (index, member) in unknown.sorted(by: { $0.keyPosition < $1.keyPosition }).enumerated() {
            let place = scope.name.isEmpty ? "" : " in \(scope.name)"
            // The search for the nearest name costs time, and nobody sees more of them than this.
            let hint = index < Problem.mostShown ? ": \(hint(for: member.key))" : ""
            let message = "unknown key \(quoted(member.key))\(place)\(hint)"
            problems.append(scope.document.problem(at: member.keyPosition, message))
        }
    }

    private func hint(for key: String) -> String {
        if let near = nearest(to: key, among: scope.asked) { return "did you mean \"\(near)\"?" }
        // The right key in the wrong place.
        let elsewhere = Settings.keys.first { !$0.name.contains("[]") && $0.lastName == key && $0.name.contains(".") }
        if let elsewhere { return "did you mean \"\(elsewhere.name)\"?" }
        return "the keys here are \(scope.asked.joined(separator: ", "))"
    }

    mutating func add(_ description: KeyDescription, for key: String) {
        scope.asked.append(key)
        if isDescribing { descriptions.append(description) }
    }

    mutating func describe<Value>(
        _ key: String, _ kind: Kind<Value>, default standard: JSON? = nil, isRequired: Bool = false,
        fallback: String? = nil, _ summary: String
    ) {
        let description = KeyDescription(
            name: pattern(key), words: kind.words, isRequired: isRequired, isSecret: kind.isSecret,
            defaultValue: standard, variable: scope.isOverridable ? Self.variable(for: full(key)) : nil,
            fallbackVariable: fallback, summary: summary)
        add(description, for: key)
    }
}
