import Core

/// How long a model shall stay loaded after an answer: `"5m"`, seconds as a number, 0 for not at all, below 0 for ever.
enum KeepAlive: Hashable {
    case unloaded
    case loaded(Duration)
    case forever

    /// Nil where the client says nothing. Throws ``RuntimeError`` `.invalidRequest`.
    init?(_ fields: RequestFields) throws(RuntimeError) {
        guard let value = fields.json["keep_alive"] else { return nil }
        guard let seconds = value.number ?? value.string.flatMap(Self.seconds), seconds.magnitude < Self.longest else {
            throw fields.refusal("keep_alive", "must be seconds, or a duration such as \"5m\" or \"1h30m\"")
        }
        if seconds < 0 {
            self = .forever
        } else {
            self = seconds == 0 ? .unloaded : .loaded(.seconds(seconds))
        }
    }

    private static let longest = 1e9

    /// Go's durations: numbers, each with its unit, one after another. A number alone counts seconds.
    private static func seconds(_ text: String) -> Double? {
        let isNegative = text.hasPrefix("-")
        var rest = text.drop { $0 == "-" || $0 == "+" }
        guard text.utf8.count <= 64, text.count - rest.count <= 1, !rest.isEmpty else { return nil }
        if let number = Double(rest), number.isFinite { return isNegative ? -number : number }
        var sum = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let number = Double(digits), let factor = units[String(unit)] else { return nil }
            sum += number * factor
        }
        return isNegative ? -sum : sum
    }

    private static let units = ["ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3_600]
}
