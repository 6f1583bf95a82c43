extension JSON5Reader {
    /// JSON5Number: a sign, then Infinity, NaN, a hexadecimal or a decimal number.
    mutating func number() throws(JSON5Error) -> Double {
        let start = position
        var sign = 1.0
        if next == "+" || next == "-" {
            sign = next == "-" ? -1 : 1
            advance()
        }
        let magnitude: Double
        switch next {
        case "I", "N":
            switch try identifier() {
            case "Infinity": magnitude = .infinity
            case "NaN": magnitude = .nan
            default: throw wrong("a value was expected; text stands in quotes", at: start)
            }
        case "0" where peek(1) == "x" || peek(1) == "X":
            advance(by: 2)
            magnitude = try hexadecimal()
        case let first? where first == "." || Self.isDigit(first): magnitude = try decimal(from: start)
        default: throw wrong("a number was expected after the sign, not \(found)")
        }
        if let next, Self.isIdentifierPart(next) || next == "." {
            throw wrong("this number goes on with \(found); text stands in quotes")
        }
        return sign * magnitude
    }

    private mutating func hexadecimal() throws(JSON5Error) -> Double {
        guard let first = next, Self.hexadecimalValue(first) != nil else {
            throw wrong("a hexadecimal digit was expected, not \(found)")
        }
        // Exact up to 2^53, as in ECMAScript; rounded above, infinite past the range.
        var value = 0.0
        while let scalar = next, let digit = Self.hexadecimalValue(scalar) {
            value = value * 16 + Double(digit)
            advance()
        }
        return value
    }

    private mutating func decimal(from start: Position) throws(JSON5Error) -> Double {
        if next == "0", let second = peek(1), Self.isDigit(second) {
            throw wrong("a number does not begin with 0", at: start)
        }
        let whole = digits()
        var fraction = ""
        if next == "." {
            advance()
            fraction = digits()
            guard !whole.isEmpty || !fraction.isEmpty else { throw wrong("a digit was expected, not \(found)") }
        }
        var exponent = ""
        if next == "e" || next == "E" {
            advance()
            if next == "+" || next == "-" {
                exponent = next == "-" ? "-" : ""
                advance()
            }
            let power = digits()
            guard !power.isEmpty else { throw wrong("a digit was expected in the exponent, not \(found)") }
            exponent += power
        }
        let text =
            "\(whole.isEmpty ? "0" : whole).\(fraction.isEmpty ? "0" : fraction)e\(exponent.isEmpty ? "0" : exponent)"
        guard let value = Double(text) else { throw wrong("this number cannot be read", at: start) }
        return value
    }

    private mutating func digits() -> String {
        var text = ""
        while let scalar = next, Self.isDigit(scalar) {
            text.unicodeScalars.append(scalar)
            advance()
        }
        return text
    }

    static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

    static func hexadecimalValue(_ scalar: Unicode.Scalar) -> UInt32? {
        switch scalar {
        case "0"..."9": scalar.value - 0x30
        case "a"..."f": scalar.value - 0x61 + 10
        case "A"..."F": scalar.value - 0x41 + 10
        default: nil
        }
    }
}
