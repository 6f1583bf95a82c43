/// How long a model stays in memory once nobody uses it.
package enum KeepAlive: Hashable, Sendable {
    /// It goes at once.
    case unloaded
    case loaded(Duration)
    case forever

    private static let longest = 1e9

    /// 0 is not at all, below 0 for ever. Nil for what is no length of time.
    package init?(seconds: Double) {
        guard seconds.magnitude < Self.longest else { return nil }
        if seconds < 0 {
            self = .forever
        } else {
            self = seconds == 0 ? .unloaded : .loaded(.seconds(seconds))
        }
    }

    /// `forever`, or as Go writes durations: numbers, each with its unit, one after another. A number alone counts
    /// seconds.
    package init?(_ text: String) {
        if text == "forever" {
            self = .forever
        } else {
            guard let seconds = Self.seconds(text), let value = KeepAlive(seconds: seconds) else { return nil }
            self = value
        }
    }

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

extension KeepAlive: CustomStringConvertible {
    /// `10m`, `0`, `forever`: what ``init(_:)`` reads.
    package var description: String {
        switch self {
        case .unloaded: return "0"
        case .forever: return "forever"
        case .loaded(let duration):
            let (seconds, attoseconds) = duration.components
            guard attoseconds == 0, seconds > 0 else { return "\(Double(seconds) + Double(attoseconds) / 1e18)s" }
            if seconds.isMultiple(of: 3_600) { return "\(seconds / 3_600)h" }
            return seconds.isMultiple(of: 60) ? "\(seconds / 60)m" : "\(seconds)s"
        }
    }
}
