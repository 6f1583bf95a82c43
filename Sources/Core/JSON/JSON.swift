/// A JSON value (RFC 8259), as read from the wire: unknown fields stay, nothing is coerced.
package enum JSON: Hashable, Sendable {
    case null
    case bool(Bool)
    /// A number written without fraction or exponent that fits 64 bits.
    case integer(Int64)
    /// Any other number; always finite.
    case number(Double)
    case string(String)
    case array([JSON])
    /// In the order of the text; of equal keys the last one stands.
    case object(Object)

    /// Members in order, found by key.
    package struct Object: Hashable, Sendable {
        package private(set) var members: [(key: String, value: JSON)] = []
        /// Empty while the members are few: most objects are small, and looking through them is then the fastest.
        private var indexes: [String: Int] = [:]

        private static let few = 16

        package init() {}

        init(minimumCapacity count: Int) { members.reserveCapacity(count) }

        package subscript(key: String) -> JSON? {
            get { index(of: key).map { members[$0].value } }
            set {
                if let index = index(of: key) {
                    if let newValue {
                        members[index].value = newValue
                    } else {
                        members.remove(at: index)
                        indexes = [:]
                        indexIfMany()
                    }
                } else if let newValue {
                    // Most objects have a few members: one growth in place of three.
                    if members.isEmpty { members.reserveCapacity(4) }
                    members.append((key: key, value: newValue))
                    if indexes.isEmpty { indexIfMany() } else { indexes[key] = members.count - 1 }
                }
            }
        }

        private func index(of key: String) -> Int? {
            indexes.isEmpty ? members.firstIndex { $0.key == key } : indexes[key]
        }

        private mutating func indexIfMany() {
            guard members.count > Self.few else { return }
            indexes = Dictionary(uniqueKeysWithValues: members.enumerated().map { ($1.key, $0) })
        }

        package static func == (left: Object, right: Object) -> Bool {
            left.members.count == right.members.count
                && left.members.allSatisfy { right[$0.key] == $0.value }
        }

        package func hash(into hasher: inout Hasher) { hasher.combine(members.count) }
    }
}

extension JSON {
    /// The member of an object; nil for a missing one, for `null`, and for anything but an object.
    package subscript(key: String) -> JSON? {
        guard case .object(let object) = self, let value = object[key], value != .null else { return nil }
        return value
    }

    package var string: String? {
        if case .string(let text) = self { text } else { nil }
    }

    package var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    package var array: [JSON]? {
        if case .array(let values) = self { values } else { nil }
    }

    package var object: Object? {
        if case .object(let object) = self { object } else { nil }
    }

    /// A whole number, also when written as `3.0`.
    package var integer: Int64? {
        switch self {
        case .integer(let value): value
        case .number(let value): Int64(exactly: value)
        default: nil
        }
    }

    package var number: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
}

extension JSON: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
    ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
    package init(dictionaryLiteral elements: (String, JSON)...) {
        var object = Object(minimumCapacity: elements.count)
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }

    package init(arrayLiteral elements: JSON...) { self = .array(elements) }
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(floatLiteral value: Double) { self = .number(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(nilLiteral: ()) { self = .null }
}
