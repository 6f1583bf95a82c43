/// A JSON5 value and the place where it begins.
struct JSON5: Sendable {
    enum Value: Sendable {
        case null
        case bool(Bool)
        case number(Double)
        case string(String)
        case array([JSON5])
        /// In the order of the text, duplicates included: the reader of the settings judges them.
        case object([Member])
    }

    struct Member: Sendable {
        var key: String
        var keyPosition: Position
        var value: JSON5
    }

    var value: Value
    var position: Position

    /// What the value is, in words, for messages that must not show it.
    var kind: String {
        switch value {
        case .null: "null"
        case .bool: "true or false"
        case .number: "a number"
        case .string: "text"
        case .array: "a list"
        case .object: "an object"
        }
    }
}

/// Why a text is not JSON5, and where.
struct JSON5Error: Error, Hashable {
    var position: Position
    var message: String
}
