/// Writes GGUF bytes, right or wrong, for tests.
struct GGUFWriter {
    /// What one metadata value is; the numbers are the format's.
    indirect enum Value {
        case uint8(UInt8)
        case int8(Int8)
        case uint16(UInt16)
        case int16(Int16)
        case uint32(UInt32)
        case int32(Int32)
        case float32(Float)
        case bool(UInt8)
        case string([UInt8])
        case uint64(UInt64)
        case int64(Int64)
        case float64(Double)
        /// Element type, the count that the file claims, elements.
        case array(UInt32, UInt64, [Value])
        case unknown(UInt32)

        static func text(_ text: String) -> Value { .string(Array(text.utf8)) }
        static func texts(_ texts: [String]) -> Value { .array(8, UInt64(texts.count), texts.map(Value.text)) }
        static func numbers(_ numbers: [Int32]) -> Value {
            .array(5, UInt64(numbers.count), numbers.map(Value.int32))
        }
    }

    struct Tensor {
        var name: String
        var dimensions: [UInt64]
        var type: UInt32
        /// Where the header says that the data begins; nil for where it does.
        var offset: UInt64?
        var data: [UInt8]
    }

    var magic: [UInt8] = Array("GGUF".utf8)
    var version: UInt32 = 3
    /// Nil for the true ones.
    var metadataCount: UInt64?
    var tensorCount: UInt64?
    var metadata: [(key: String, value: Value)] = []
    var tensors: [Tensor] = []
    var alignment = 32

    var bytes: [UInt8] {
        var out = magic
        Self.put(version, to: &out)
        Self.put(tensorCount ?? UInt64(tensors.count), to: &out)
        Self.put(metadataCount ?? UInt64(metadata.count), to: &out)
        for (key, value) in metadata {
            Self.put(string: Array(key.utf8), to: &out)
            Self.put(type: value, to: &out)
            Self.put(value, to: &out)
        }
        var data: [UInt8] = []
        for tensor in tensors {
            data += [UInt8](repeating: 0, count: -data.count & (alignment - 1))
            Self.put(string: Array(tensor.name.utf8), to: &out)
            Self.put(UInt32(tensor.dimensions.count), to: &out)
            for dimension in tensor.dimensions { Self.put(dimension, to: &out) }
            Self.put(tensor.type, to: &out)
            Self.put(tensor.offset ?? UInt64(data.count), to: &out)
            data += tensor.data
        }
        if !tensors.isEmpty { out += [UInt8](repeating: 0, count: -out.count & (alignment - 1)) }
        return out + data
    }

    private static func put(_ value: some FixedWidthInteger, to out: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) }
    }

    private static func put(string: [UInt8], to out: inout [UInt8]) {
        put(UInt64(string.count), to: &out)
        out += string
    }

    private static func put(type value: Value, to out: inout [UInt8]) {
        let type: UInt32 =
            switch value {
            case .uint8: 0
            case .int8: 1
            case .uint16: 2
            case .int16: 3
            case .uint32: 4
            case .int32: 5
            case .float32: 6
            case .bool: 7
            case .string: 8
            case .array: 9
            case .uint64: 10
            case .int64: 11
            case .float64: 12
            case .unknown(let type): type
            }
        put(type, to: &out)
    }

    private static func put(_ value: Value, to out: inout [UInt8]) {
        switch value {
        case .uint8(let number): put(number, to: &out)
        case .int8(let number): put(number, to: &out)
        case .uint16(let number): put(number, to: &out)
        case .int16(let number): put(number, to: &out)
        case .uint32(let number): put(number, to: &out)
        case .int32(let number): put(number, to: &out)
        case .float32(let number): put(number.bitPattern, to: &out)
        case .bool(let number): put(number, to: &out)
        case .string(let string): put(string: string, to: &out)
        case .uint64(let number): put(number, to: &out)
        case .int64(let number): put(number, to: &out)
        case .float64(let number): put(number.bitPattern, to: &out)
        case .array(let type, let count, let elements):
            put(type, to: &out)
            put(count, to: &out)
            for element in elements { put(element, to: &out) }
        case .unknown: break
        }
    }
}
