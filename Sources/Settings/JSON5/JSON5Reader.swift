import Core

/// Reads JSON5 (spec.json5.org, 1.0.0) by recursive descent and keeps the place of every key and value.
///
/// Deviations: a lone surrogate escape is refused, since no text can hold it; nesting is bounded by
/// ``Limits/settingsDepth``. Lines end where editors end them (LF, CR, CRLF); U+2028 and U+2029 end a comment, as the
/// specification says, but no line.
struct JSON5Reader {
    var scalars: [Unicode.Scalar]
    /// Index of the next scalar.
    var index = 0
    var position = Position(line: 1, column: 1)

    /// The one value of a text.
    static func read(_ bytes: some Sequence<UInt8>) throws(JSON5Error) -> JSON5 {
        var reader = JSON5Reader(scalars: try decode(bytes))
        if reader.next == "\u{FEFF}" { reader.index = 1 }
        try reader.skipSpace()
        let value = try reader.value(depth: 0)
        try reader.skipSpace()
        guard reader.next == nil else { throw reader.wrong("something follows the end of the settings") }
        return value
    }

    private static func decode(_ bytes: some Sequence<UInt8>) throws(JSON5Error) -> [Unicode.Scalar] {
        var scalars: [Unicode.Scalar] = []
        var iterator = bytes.makeIterator()
        var parser = Unicode.UTF8.ForwardParser()
        while true {
            switch parser.parseScalar(from: &iterator) {
            case .valid(let encoded): scalars.append(Unicode.UTF8.decode(encoded))
            case .emptyInput: return scalars
            case .error:
                // Walks what was good once more, to say where it ended.
                var reader = JSON5Reader(scalars: scalars)
                if reader.next == "\u{FEFF}" { reader.index = 1 }
                while reader.next != nil { reader.advance() }
                throw reader.wrong("the text is not UTF-8 here")
            }
        }
    }

    // MARK: Scalars

    var next: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

    func peek(_ offset: Int) -> Unicode.Scalar? {
        index + offset < scalars.count ? scalars[index + offset] : nil
    }

    mutating func advance() {
        guard let scalar = next else { return }
        index += 1
        switch scalar {
        case "\r" where next == "\n": break  // the LF that follows ends the line
        case "\n", "\r": position = Position(line: position.line + 1, column: 1)
        default: position.column += 1
        }
    }

    mutating func advance(by count: Int) {
        for _ in 0..<count { advance() }
    }

    func wrong(_ message: String, at place: Position? = nil) -> JSON5Error {
        JSON5Error(position: place ?? position, message: message)
    }

    /// "found" for messages: the next character, or the end.
    var found: String {
        guard let next else { return "the end of the text" }
        return next.value < 0x20 || next.value == 0x7F ? "a control character" : "\"\(next)\""
    }

    // MARK: White space and comments

    mutating func skipSpace() throws(JSON5Error) {
        while let scalar = next {
            if scalar == "/" {
                try skipComment()
            } else if Self.isSpace(scalar) {
                advance()
            } else {
                return
            }
        }
    }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\t", "\u{0B}", "\u{0C}", " ", "\u{A0}", "\u{FEFF}", "\n", "\r", "\u{2028}", "\u{2029}": true
        default: scalar.value > 0x7F && scalar.properties.generalCategory == .spaceSeparator
        }
    }

    private mutating func skipComment() throws(JSON5Error) {
        let start = position
        switch peek(1) {
        case "/":
            while let scalar = next, !Self.isLineTerminator(scalar) { advance() }
        case "*":
            advance(by: 2)
            while !(next == "*" && peek(1) == "/") {
                guard next != nil else { throw wrong("this comment has no end", at: start) }
                advance()
            }
            advance(by: 2)
        default: throw wrong("a comment begins with // or /*")
        }
    }

    static func isLineTerminator(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\n", "\r", "\u{2028}", "\u{2029}": true
        default: false
        }
    }

    // MARK: Values

    /// `depth` is that of the surrounding object or array.
    private mutating func value(depth: Int) throws(JSON5Error) -> JSON5 {
        let start = position
        switch next {
        case "{": return JSON5(value: .object(try object(depth: try deeper(depth))), position: start)
        case "[": return JSON5(value: .array(try array(depth: try deeper(depth))), position: start)
        case "\"", "'": return JSON5(value: .string(try string()), position: start)
        case let first? where Self.beginsNumber(first): return JSON5(value: .number(try number()), position: start)
        case let first? where Self.isIdentifierStart(first): return JSON5(value: try word(), position: start)
        default: throw wrong("a value was expected, not \(found)")
        }
    }

    private static func beginsNumber(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "+", "-", ".", "0"..."9", "I", "N": true
        default: false
        }
    }

    private func deeper(_ depth: Int) throws(JSON5Error) -> Int {
        guard depth < Limits.settingsDepth else {
            throw wrong("the settings are nested deeper than \(Limits.settingsDepth) levels")
        }
        return depth + 1
    }

    private mutating func word() throws(JSON5Error) -> JSON5.Value {
        let start = position
        switch try identifier() {
        case "true": return .bool(true)
        case "false": return .bool(false)
        case "null": return .null
        default: throw wrong("a value was expected; text stands in quotes", at: start)
        }
    }

    private mutating func object(depth: Int) throws(JSON5Error) -> [JSON5.Member] {
        let start = position
        var members: [JSON5.Member] = []
        advance()
        while true {
            try skipSpace()
            guard next != nil else { throw wrong("this { has no }", at: start) }
            if next == "}" {
                advance()
                return members
            }
            let keyPosition = position
            let key = next == "\"" || next == "'" ? try string() : try identifier()
            try skipSpace()
            guard next == ":" else { throw wrong("a colon was expected after the key, not \(found)") }
            advance()
            try skipSpace()
            members.append(JSON5.Member(key: key, keyPosition: keyPosition, value: try value(depth: depth)))
            try separator(before: "}", of: start)
        }
    }

    private mutating func array(depth: Int) throws(JSON5Error) -> [JSON5] {
        let start = position
        var values: [JSON5] = []
        advance()
        while true {
            try skipSpace()
            guard next != nil else { throw wrong("this [ has no ]", at: start) }
            if next == "]" {
                advance()
                return values
            }
            values.append(try value(depth: depth))
            try separator(before: "]", of: start)
        }
    }

    /// A comma, or nothing where `end` follows.
    private mutating func separator(before end: Unicode.Scalar, of start: Position) throws(JSON5Error) {
        try skipSpace()
        switch next {
        case ",": advance()
        case end: break
        case nil: throw wrong("this \(end == "}" ? "{" : "[") has no \(end)", at: start)
        default: throw wrong("a comma or \(end) was expected, not \(found)")
        }
    }
}
