import Core

extension Kind where Value == Bool {
    static var toggle: Kind {
        Kind(words: "true or false", textForm: .json5) { node, reading in
            guard case .bool(let value) = node.value else { return reading.refuse(node, Kind.toggle) }
            return value
        } show: {
            .bool($0)
        }
    }
}

extension Kind where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> Kind {
        let words = "a whole number from \(grouped(range.lowerBound)) to \(grouped(range.upperBound))"
        return Kind(words: words, textForm: .json5) { node, reading in
            guard case .number(let number) = node.value else { return reading.refuse(node, Kind.integer(range)) }
            guard let value = Int(exactly: number), range.contains(value) else {
                return reading.refuse(node, Kind.integer(range), found: plain(number))
            }
            return value
        } show: {
            .integer(Int64($0))
        }
    }
}

extension Kind where Value == Double {
    static func number(_ range: ClosedRange<Double>) -> Kind {
        let words = "a number from \(plain(range.lowerBound)) to \(plain(range.upperBound))"
        return Kind(words: words, textForm: .json5) { node, reading in
            // NaN is in no range.
            guard case .number(let value) = node.value else { return reading.refuse(node, Kind.number(range)) }
            guard range.contains(value) else {
                return reading.refuse(node, Kind.number(range), found: plain(value))
            }
            return value
        } show: {
            .number($0)
        }
    }
}

extension Kind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of the cases of an enum.
    static func choice() -> Kind {
        let known = Value.allCases.map { "\"\($0.rawValue)\"" }
        return Kind(words: alternatives(known), textForm: .text) { node, reading in
            let kind = Kind.choice()
            guard let text = reading.text(node, kind) else { return nil }
            if let value = Value(rawValue: text) { return value }
            let near = nearest(to: text, among: Value.allCases.map(\.rawValue))
            let hint = near.map { ": did you mean \"\($0)\"?" } ?? ""
            return reading.refuse(node, kind, found: "\(quoted(text))\(hint)")
        } show: {
            .string($0.rawValue)
        }
    }
}

extension Kind {
    /// A list of values, or of one item for each text between the commas of a variable.
    static func list<Item>(of item: Kind<Item>, count: ClosedRange<Int>) -> Kind where Value == [Item] {
        var words = "a list, each item \(item.words)"
        if count.lowerBound > 0 { words += ", at least \(count.lowerBound)" }
        var kind = Kind(words: words, textForm: .list) { node, reading in
            guard case .array(let nodes) = node.value else {
                return reading.refuse(node, Kind.list(of: item, count: count))
            }
            guard count.contains(nodes.count) else {
                reading.refuse(
                    node, "must hold \(count.lowerBound) to \(count.upperBound) items, not \(nodes.count)")
                return nil
            }
            let name = reading.name
            defer { reading.name = name }
            var items: [Item] = []
            for (index, node) in nodes.enumerated() {
                reading.name = "\(name)[\(index)]"
                if let value = item.read(node, &reading) { items.append(value) }
            }
            return items
        } show: {
            .array($0.map(item.show))
        }
        kind.isSecret = item.isSecret
        return kind
    }
}

/// `1000000` as `1,000,000`; short numbers and negative ones stay as they are.
func grouped(_ value: Int) -> String {
    guard value >= 10_000 else { return String(value) }
    var rest = value
    var text = ""
    while rest >= 1_000 {
        text = "," + String(rest % 1_000 + 1_000).dropFirst() + text
        rest /= 1_000
    }
    return String(rest) + text
}

/// `5`, not `5.0`.
func plain(_ value: Double) -> String {
    Int(exactly: value).map(String.init)
        ?? (value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : "\(value)")
}

/// `"a", "b" or "c"`
func alternatives(_ words: [String]) -> String {
    guard words.count > 1, let last = words.last else { return words.first ?? "" }
    return "\(words.dropLast().joined(separator: ", ")) or \(last)"
}
