/// One metadata value. Whole numbers of all widths are one of two cases.
package enum GGUFValue: Sendable {
    /// uint8, uint16, uint32, uint64
    case unsigned(UInt64)
    /// int8, int16, int32, int64
    case signed(Int64)
    /// float32, float64; may be infinite or not a number.
    case float(Double)
    case bool(Bool)
    /// Bytes that are not UTF-8 have become U+FFFD.
    case string(String)
    case array(GGUFArray)
}

/// The value types of the format, with their numbers in the file.
package enum GGUFValueType: UInt32, Sendable, CaseIterable {
    case uint8 = 0
    case int8 = 1
    case uint16 = 2
    case int16 = 3
    case uint32 = 4
    case int32 = 5
    case float32 = 6
    case bool = 7
    case string = 8
    case array = 9
    case uint64 = 10
    case int64 = 11
    case float64 = 12

    /// The fewest bytes that one value takes; exact for all but strings and arrays.
    var minimumBytes: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64, .string: 8
        // Its element type and its count.
        case .array: 12
        }
    }

    var isFixedWidth: Bool { self != .string && self != .array }
}

/// An array of metadata values. Its elements stay in the file until they are asked for; their bounds were checked when
/// the header was read.
package struct GGUFArray: Sendable {
    package let elementType: GGUFValueType
    package let count: Int
    /// Where the elements lie in the file.
    let range: Range<Int>
    let storage: GGUFStorage

    /// The elements of an array of strings, else nil.
    package var strings: [String]? {
        guard elementType == .string else { return nil }
        return decoded { if case .string(let text) = $0 { text } else { nil } }
    }

    /// The elements of an array of whole numbers that all fit `Int`, else nil.
    package var integers: [Int]? {
        decoded {
            switch $0 {
            case .unsigned(let value): Int(exactly: value)
            case .signed(let value): Int(exactly: value)
            default: nil
            }
        }
    }

    /// The elements of an array of numbers, else nil.
    package var floats: [Double]? {
        decoded {
            switch $0 {
            case .float(let value): value
            case .unsigned(let value): Double(value)
            case .signed(let value): Double(value)
            default: nil
            }
        }
    }

    /// All elements, of any type.
    package var values: [GGUFValue] { decoded { $0 } ?? [] }

    /// Nil as soon as `transform` gives nil for an element.
    private func decoded<Element>(_ transform: (GGUFValue) -> Element?) -> [Element]? {
        var parser = GGUFParser(storage, at: range.lowerBound)
        var elements: [Element] = []
        elements.reserveCapacity(count)
        for _ in 0..<count {
            // The same bytes passed the same checks when the header was read: this cannot throw.
            guard let value = try? parser.value(of: elementType, named: "array", nesting: 1),
                let element = transform(value)
            else { return nil }
            elements.append(element)
        }
        return elements
    }
}
