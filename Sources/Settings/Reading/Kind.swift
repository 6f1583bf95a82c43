import Core

/// What a key may hold: how it is described, read and shown. Made once per key of the schema.
struct Kind<Value> {
    /// The allowed values in words that follow "must be".
    var words: String
    var textForm: TextForm
    var isSecret = false
    /// Nil when refused or absent; `Reading` then says why.
    var read: (JSON5, inout Reading) -> Value?
    var show: (Value) -> JSON
}

/// One value on its way from JSON5 to its type.
struct Reading {
    var surroundings: Surroundings
    /// False for the text of a variable or a flag, which is the value as it stands.
    var expandsReferences: Bool
    /// The key's full name; a list adds the index of the item.
    var name: String
    private(set) var refusals: [(position: Position, message: String)] = []
    /// Values that are absent because of these unset variables.
    private(set) var absences: [(position: Position, name: String, variables: [String])] = []
    /// A secret stands in the text itself.
    private(set) var holdsLiteralSecret = false

    init(surroundings: Surroundings, expandsReferences: Bool, name: String) {
        self.surroundings = surroundings
        self.expandsReferences = expandsReferences
        self.name = name
    }

    /// `message` follows the key's name.
    mutating func refuse(_ node: JSON5, _ message: String) {
        refusals.append((node.position, "\(name) \(message)"))
    }

    mutating func refuse<Value>(_ node: JSON5, _ kind: Kind<Value>, found: String? = nil) -> Value? {
        refuse(node, "must be \(kind.words), not \(found ?? node.kind)")
        return nil
    }

    /// The text of a string with its references replaced. Nil for anything else, and where a variable is missing.
    mutating func text<Value>(_ node: JSON5, _ kind: Kind<Value>) -> String? {
        guard case .string(let raw) = node.value else {
            refuse(node, "must be \(kind.words), not \(node.kind)")
            return nil
        }
        let text: String
        do throws(ExpansionError) {
            text = expandsReferences ? try surroundings.expand(raw) : raw
        } catch {
            switch error {
            case .unset(let variables): absences.append((node.position, name, variables))
            case .malformed(let why): refuse(node, "cannot be read: \(why)")
            }
            return nil
        }
        if kind.isSecret, expandsReferences, text == raw { holdsLiteralSecret = true }
        guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) }) else {
            refuse(node, "holds a control character")
            return nil
        }
        return text
    }
}
