/// The labels of a series, sorted by name: two series with the same ones are one.
struct Labels: Hashable, Sendable {
    private let pairs: [Pair]

    private struct Pair: Hashable, Sendable {
        var name: String
        var value: String
    }

    /// Names become what Prometheus allows; of equal ones the first stands. `le` belongs to the buckets.
    init(_ dimensions: [(String, String)]) {
        var pairs: [Pair] = []
        for (name, value) in dimensions {
            let name = Self.name(name)
            if !pairs.contains(where: { $0.name == name }) { pairs.append(Pair(name: name, value: value)) }
        }
        pairs.sort { $0.name < $1.name }
        self.pairs = pairs
    }

    /// `{a="b",c="d"}`, or nothing. Made for the page alone: instruments are found by their labels far more often.
    var text: String { pairs.isEmpty ? "" : "{\(Self.joined(pairs))}" }

    /// The text with one label more, at its end.
    func adding(_ name: String, _ value: String) -> String {
        pairs.isEmpty ? "{\(name)=\"\(value)\"}" : "{\(Self.joined(pairs)),\(name)=\"\(value)\"}"
    }

    private static func joined(_ pairs: [Pair]) -> String {
        pairs.map { "\($0.name)=\"\(escaped($0.value))\"" }.joined(separator: ",")
    }

    private static func name(_ text: String) -> String {
        let name = metricName(text, allowsColon: false)
        return name == "le" || name.hasPrefix("__") ? "label_\(name)" : name
    }

    private static func escaped(_ value: String) -> String {
        var result = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// A name that Prometheus allows: what it does not allow becomes `_`.
func metricName(_ text: String, allowsColon: Bool = true) -> String {
    var result = ""
    for (index, scalar) in text.unicodeScalars.enumerated() {
        switch scalar {
        case "a"..."z", "A"..."Z", "_": result.unicodeScalars.append(scalar)
        case "0"..."9":
            if index == 0 { result += "_" }
            result.unicodeScalars.append(scalar)
        case ":" where allowsColon: result += ":"
        default: result += "_"
        }
    }
    return result.isEmpty ? "_" : result
}
