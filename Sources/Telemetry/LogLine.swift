import Core
import Logging

/// One event, ready to be written.
struct LogLine {
    /// Longer values are cut: a log line is no place for a document.
    static let longestValue = 4_096
    /// Names that the line itself uses.
    private static let reserved: Set<String> = ["time", "level", "label", "message", "cursor"]

    var time: Timestamp
    var level: Logger.Level
    var label: String
    var message: String
    /// Sorted by name.
    var fields: [(name: String, value: JSON)]

    /// `["peer": ["id": "a"]]` as `peer.id`, sorted by name.
    static func flatten(_ metadata: Logger.Metadata) -> [(name: String, value: JSON)] {
        var result: [(name: String, value: JSON)] = []
        for (key, value) in metadata {
            if case .dictionary(let inner) = value {
                result += flatten(inner).map { ("\(key).\($0.name)", $0.value) }
            } else {
                result.append((key, json(value)))
            }
        }
        return result.sorted { $0.name < $1.name }
    }

    private static func json(_ value: Logger.MetadataValue) -> JSON {
        switch value {
        case .string(let text): return .string(cut(text))
        case .stringConvertible(let value): return .string(cut(value.description))
        case .array(let values): return .array(values.prefix(100).map(json))
        case .dictionary(let inner):
            var object = JSON.Object()
            for (name, value) in flatten(inner) { object[name] = value }
            return .object(object)
        }
    }

    private static func cut(_ text: String) -> String {
        guard text.utf8.count > longestValue else { return text }
        return String(decoding: text.utf8.prefix(longestValue), as: UTF8.self) + "…"
    }

    /// `{"time":"2026-11-21T01:32:35.123Z","level":"info","label":"node","message":"…","peer.id":"…"}`
    var json: [UInt8] {
        var object = JSON.Object()
        object["time"] = .string(time.description)
        object["level"] = .string(level.rawValue)
        object["label"] = .string(label)
        object["message"] = .string(Self.cut(message))
        for (name, value) in fields {
            object[Self.reserved.contains(name) ? "metadata.\(name)" : name] = value
        }
        // What JSON leaves as it is and a terminal obeys stands in texts only, where the escape means the same.
        return Array(Self.escaped(JSON.object(object).text).utf8) + [UInt8(ascii: "\n")]
    }

    /// `2026-11-21T01:32:35.123Z info     node: message  peer.id=a`
    var text: [UInt8] {
        let padding = String(repeating: " ", count: max(0, 8 - level.rawValue.utf8.count))
        var line = "\(time) \(level.rawValue)\(padding) \(Self.escaped(label)): \(Self.escaped(Self.cut(message)))"
        for (index, field) in fields.enumerated() {
            line += "\(index == 0 ? "  " : " ")\(Self.escaped(field.name))=\(Self.shown(field.value))"
        }
        return Array(line.utf8) + [UInt8(ascii: "\n")]
    }

    /// A plain word as it is, anything else in quotes.
    private static func shown(_ value: JSON) -> String {
        guard case .string(let text) = value else { return escaped(value.text) }
        let isPlain =
            !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") }
        return isPlain ? escaped(text) : escaped(value.text)
    }

    /// C0, DEL and C1 controls, and the separators of lines, as `\u001B`: nothing may move a terminal's cursor.
    private static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if isControl(scalar) {
                let digits = String(scalar.value, radix: 16, uppercase: true)
                result += "\\u\(String(repeating: "0", count: max(0, 4 - digits.utf8.count)))\(digits)"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) || scalar == "\u{2028}" || scalar == "\u{2029}"
    }
}
