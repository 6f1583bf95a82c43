extension JSON {
    /// Reads exactly one JSON text.
    ///
    /// - Throws: ``RuntimeError`` `.invalidRequest` with the byte offset; `.tooLarge` past ``Limits/jsonDepth`` or
    ///   when one array or object has more than ``Limits/jsonItems`` members.
    package static func parse(_ bytes: [UInt8]) throws(RuntimeError) -> JSON {
        try bytes.withUnsafeBufferPointer { (buffer) throws(RuntimeError) -> JSON in
            var parser = JSONParser(buffer)
            return try parser.document()
        }
    }

    package static func parse(_ text: String) throws(RuntimeError) -> JSON { try parse(Array(text.utf8)) }
}

/// A recursive-descent reader over bytes; the depth is bounded, every index is checked.
private struct JSONParser {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    mutating func document() throws(RuntimeError) -> JSON {
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        let value = try value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw wrong("something follows the end of the value") }
        return value
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private func wrong(_ what: String) -> RuntimeError {
        RuntimeError(.invalidRequest, "the body is not valid JSON: \(what) at byte \(position)")
    }

    private mutating func value(depth: Int) throws(RuntimeError) -> JSON {
        skipSpace()
        guard depth < Limits.jsonDepth else {
            throw RuntimeError(.tooLarge, "the JSON is nested deeper than \(Limits.jsonDepth) levels")
        }
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), (UInt8(ascii: "0")...UInt8(ascii: "9"))?: return try number()
        case nil: throw wrong("it ends early")
        default: throw wrong("a value was expected")
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws(RuntimeError) -> JSON {
        for index in 0..<word.utf8CodeUnitCount {
            guard next == word.utf8Start[index] else { throw wrong("a value was expected") }
            position += 1
        }
        return value
    }

    private mutating func object(depth: Int) throws(RuntimeError) -> JSON {
        position += 1
        var object = JSON.Object()
        var count = 0
        skipSpace()
        if next == UInt8(ascii: "}") {
            position += 1
            return .object(object)
        }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw wrong("a key in double quotes was expected") }
            let key = try string()
            skipSpace()
            guard next == UInt8(ascii: ":") else { throw wrong("a colon was expected") }
            position += 1
            object[key] = try value(depth: depth + 1)
            count += 1
            try bound(count)
            skipSpace()
            switch next {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "}"):
                position += 1
                return .object(object)
            default: throw wrong("a comma or } was expected")
            }
        }
    }

    private mutating func array(depth: Int) throws(RuntimeError) -> JSON {
        position += 1
        var values: [JSON] = []
        skipSpace()
        if next == UInt8(ascii: "]") {
            position += 1
            return .array(values)
        }
        while true {
            values.append(try value(depth: depth + 1))
            try bound(values.count)
            skipSpace()
            switch next {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "]"):
                position += 1
                return .array(values)
            default: throw wrong("a comma or ] was expected")
            }
        }
    }

    private func bound(_ count: Int) throws(RuntimeError) {
        guard count <= Limits.jsonItems else {
            throw RuntimeError(.tooLarge, "one list in the JSON has more than \(Limits.jsonItems) items")
        }
    }

    private mutating func number() throws(RuntimeError) -> JSON {
        let start = position
        var isInteger = true
        if next == UInt8(ascii: "-") { position += 1 }
        if next == UInt8(ascii: "0") {
            position += 1
        } else {
            try digits()
        }
        if next == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            try digits()
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw wrong("a number is out of range") }
        return .number(value)
    }

    private mutating func digits() throws(RuntimeError) {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        guard position > start else { throw wrong("a digit was expected") }
    }

    private mutating func string() throws(RuntimeError) -> String {
        position += 1
        let start = position
        var highest: UInt8 = 0
        // Most strings hold no escape: take them whole.
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
            highest = max(highest, byte)
            position += 1
        }
        if next == UInt8(ascii: "\"") {
            defer { position += 1 }
            // ASCII is UTF-8, and need not be looked at again.
            if highest < 0x80 { return String(decoding: bytes[start..<position], as: UTF8.self) }
            return try text(bytes[start..<position])
        }
        var content = Array(bytes[start..<position])
        while true {
            guard let byte = next else { throw wrong("a string has no end") }
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return try text(content)
            case UInt8(ascii: "\\"): try escape(into: &content)
            case 0..<0x20: throw wrong("a control character stands in a string")
            default: content.append(byte)
            }
        }
    }

    private func text(_ content: some Collection<UInt8>) throws(RuntimeError) -> String {
        guard let text = String(validating: content, as: UTF8.self) else { throw wrong("a string is not UTF-8") }
        return text
    }

    private mutating func escape(into content: inout [UInt8]) throws(RuntimeError) {
        guard let byte = next else { throw wrong("a string has no end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0C)
        case UInt8(ascii: "n"): content.append(0x0A)
        case UInt8(ascii: "r"): content.append(0x0D)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"):
            var code = UInt32(try hexadecimal())
            if (0xD800..<0xDC00).contains(code), next == UInt8(ascii: "\\"), position + 1 < bytes.count,
                bytes[position + 1] == UInt8(ascii: "u")
            {
                let before = position
                position += 2
                let low = UInt32(try hexadecimal())
                if (0xDC00..<0xE000).contains(low) {
                    code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
                } else {
                    position = before
                }
            }
            // A lone surrogate is no character: it becomes U+FFFD, as in every browser's decoder.
            let scalar = Unicode.Scalar(code) ?? "\u{FFFD}"
            content.append(contentsOf: String(Character(scalar)).utf8)
        default: throw wrong("an unknown escape stands in a string")
        }
    }

    private mutating func hexadecimal() throws(RuntimeError) -> UInt16 {
        guard position + 4 <= bytes.count,
            let value = UInt16(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16),
            bytes[position] != UInt8(ascii: "+"), bytes[position] != UInt8(ascii: "-")
        else { throw wrong("four hexadecimal digits were expected") }
        position += 4
        return value
    }
}
