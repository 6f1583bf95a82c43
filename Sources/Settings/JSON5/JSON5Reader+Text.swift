extension JSON5Reader {
    /// A string in either kind of quotes.
    mutating func string() throws(JSON5Error) -> String {
        let start = position
        let quote = next
        var text = String.UnicodeScalarView()
        advance()
        while let scalar = next {
            switch scalar {
            case quote:
                advance()
                return String(text)
            case "\\": try escape(into: &text)
            // U+2028 and U+2029 may stand in a string; the ends of a line in an editor may not.
            case "\n", "\r": throw wrong("this text has no closing quote on its line", at: start)
            default:
                text.append(scalar)
                advance()
            }
        }
        throw wrong("this text has no closing quote", at: start)
    }

    private mutating func escape(into text: inout String.UnicodeScalarView) throws(JSON5Error) {
        let start = position
        advance()
        guard let scalar = next else { throw wrong("this text has no closing quote", at: start) }
        switch scalar {
        case "b": text.append("\u{08}")
        case "f": text.append("\u{0C}")
        case "n": text.append("\n")
        case "r": text.append("\r")
        case "t": text.append("\t")
        case "v": text.append("\u{0B}")
        case "0":
            if let digit = peek(1), Self.isDigit(digit) { throw wrong("octal escapes are not known", at: start) }
            text.append("\u{00}")
        case "1"..."9": throw wrong("octal escapes are not known", at: start)
        case "x":
            advance()
            text.append(Unicode.Scalar(UInt8(truncatingIfNeeded: try hexadecimal(digits: 2, from: start))))
            return
        case "u":
            advance()
            text.append(try unicodeEscape(from: start))
            return
        case "\r" where peek(1) == "\n": advance()  // a line continuation, as the others below
        case "\n", "\r", "\u{2028}", "\u{2029}": break
        default: text.append(scalar)
        }
        advance()
    }

    /// The character of `\uXXXX`, or of a pair of them; the next scalar is the first digit.
    private mutating func unicodeEscape(from start: Position) throws(JSON5Error) -> Unicode.Scalar {
        var code = try hexadecimal(digits: 4, from: start)
        if (0xD800..<0xDC00).contains(code), next == "\\", peek(1) == "u" {
            advance(by: 2)
            let low = try hexadecimal(digits: 4, from: start)
            guard (0xDC00..<0xE000).contains(low) else { throw wrong("this escape is half a character", at: start) }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw wrong("this escape is half a character", at: start) }
        return scalar
    }

    private mutating func hexadecimal(digits count: Int, from start: Position) throws(JSON5Error) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let scalar = next, let digit = Self.hexadecimalValue(scalar) else {
                throw wrong("this escape needs \(count) hexadecimal digits", at: start)
            }
            value = value << 4 | digit
            advance()
        }
        return value
    }

    /// An ES5 IdentifierName: a bare key, or one of the words for values.
    mutating func identifier() throws(JSON5Error) -> String {
        var text = String.UnicodeScalarView()
        while let scalar = next {
            let start = position
            var part = scalar
            if scalar == "\\" {
                guard peek(1) == "u" else { throw wrong("a key holds no other escape than \\u", at: start) }
                advance(by: 2)
                part = try unicodeEscape(from: start)
            } else if Self.isIdentifierPart(scalar) {
                advance()
            } else {
                break
            }
            guard text.isEmpty ? Self.isIdentifierStart(part) : Self.isIdentifierPart(part) else {
                throw wrong("a key without quotes cannot hold this character", at: start)
            }
            text.append(part)
        }
        guard !text.isEmpty else { throw wrong("a key was expected, not \(found)") }
        return String(text)
    }

    static func isIdentifierStart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "$", "_": return true
        case "\u{00}"..."\u{7F}": return false
        default: break
        }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .letterNumber:
            return true
        default: return false
        }
    }

    static func isIdentifierPart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "0"..."9", "\u{200C}", "\u{200D}": return true
        default: break
        }
        if isIdentifierStart(scalar) { return true }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .decimalNumber, .connectorPunctuation: return true
        default: return false
        }
    }
}
