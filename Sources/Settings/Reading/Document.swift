/// One source of values: the file, or the text of one variable or flag.
struct Document {
    enum Origin {
        case `default`
        case file
        case environment
        case flag
    }

    /// As messages name it.
    var name: String
    var origin: Origin
    /// False for a bare text, which has no lines.
    var hasPositions = true
    /// False for a bare text, which is the value as it stands.
    var expandsReferences = true

    func source(at position: Position) -> ValueSource {
        switch origin {
        case .default: .default
        case .file: .file(name, position)
        case .environment: .environment(name)
        case .flag: .flag(name)
        }
    }

    func problem(at position: Position, _ message: String) -> Problem {
        Problem(source: name, position: hasPositions ? position : nil, message: message)
    }
}

/// The text of a variable or a flag as the value of a key.
struct RawText {
    var text: String
    var document: Document

    /// As a value, whatever the key holds: text that is no JSON5 stays text, and the key's kind refuses it by name.
    func candidate(_ form: TextForm) throws(Problem) -> Candidate {
        let start = Position(line: 1, column: 1)
        var bare = document
        bare.hasPositions = false
        bare.expandsReferences = false
        let isStructured = text.drop { $0 == " " }.first.map { $0 == "[" || $0 == "{" } ?? false
        switch form {
        case .text: return Candidate(node: JSON5(value: .string(text), position: start), document: bare)
        case .list where !isStructured:
            let items = text.split(separator: ",").map { item in
                JSON5(value: .string(trimmed(item)), position: start)
            }
            return Candidate(node: JSON5(value: .array(items), position: start), document: bare)
        case .list, .json5:
            do throws(JSON5Error) {
                return Candidate(node: try JSON5Reader.read(text.utf8), document: isStructured ? document : bare)
            } catch {
                guard isStructured else {
                    return Candidate(node: JSON5(value: .string(text), position: start), document: bare)
                }
                throw document.problem(at: error.position, error.message)
            }
        }
    }

    private func trimmed(_ text: Substring) -> String {
        var text = text.drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}

/// How the text of a variable or a flag becomes a value.
enum TextForm {
    /// It is the value.
    case text
    /// JSON5: a number, `true`, a list of objects.
    case json5
    /// JSON5 where it begins with `[`, else texts between commas.
    case list
}
