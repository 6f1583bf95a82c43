/// A tool that the client offers and runs itself.
package struct Tool: Hashable, Sendable {
    package var name: String
    package var description: String?
    /// JSON Schema of the arguments; nil where it takes none.
    package var parameters: JSON?
    /// The arguments must follow the schema to the letter.
    package var isStrict: Bool

    package init(name: String, description: String? = nil, parameters: JSON? = nil, isStrict: Bool = false) {
        self.name = name
        self.description = description
        self.parameters = parameters
        self.isStrict = isStrict
    }
}

/// Whether the model may or must call a tool.
package enum ToolChoice: Hashable, Sendable {
    case auto
    case none
    /// At least one, whichever.
    case required
    /// This one.
    case named(String)
}

/// One call that the assistant asks for.
package struct ToolCall: Hashable, Sendable {
    /// The client's answer carries it again.
    package var id: String
    package var name: String
    /// JSON as the model wrote it: it may be broken.
    package var arguments: String

    package init(id: String, name: String, arguments: String) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }
}

extension Message {
    /// Puts the next piece of a call in its place. Throws ``RuntimeError`` `.engineFailed` for one that belongs nowhere.
    package mutating func add(_ piece: ToolCallPiece) throws(RuntimeError) {
        if piece.index == toolCalls.count, let id = piece.id, let name = piece.name {
            toolCalls.append(ToolCall(id: id, name: name, arguments: piece.arguments))
        } else if toolCalls.indices.contains(piece.index) {
            toolCalls[piece.index].arguments += piece.arguments
        } else {
            throw RuntimeError(.engineFailed, "the engine sent a piece of a tool call that had not begun")
        }
    }
}

/// The next piece of a call. The first piece of each carries its id and name.
package struct ToolCallPiece: Hashable, Sendable {
    /// The call's place in the message, from 0; calls come one after another.
    package var index: Int
    package var id: String?
    package var name: String?
    package var arguments: String

    package init(index: Int, id: String? = nil, name: String? = nil, arguments: String = "") {
        self.index = index
        self.id = id
        self.name = name
        self.arguments = arguments
    }
}
