import Core

/// Reads the header from front to back. Each number is checked before it is used as a size (CVE-2024-39720,
/// CVE-2025-53630 and its bypass CVE-2026-27940, CVE-2026-7482, CVE-2026-33298, TALOS-2024-1913…1915 are all lengths
/// or products that nobody compared with the file).
struct GGUFParser {
    /// Magic, version and the two counts.
    static let smallestFile = 24

    private let storage: GGUFStorage
    private let bytes: UnsafeRawBufferPointer
    private var position: Int

    init(_ storage: GGUFStorage, at position: Int = 0) {
        self.storage = storage
        bytes = storage.bytes
        self.position = position
    }

    struct Header {
        var version = 0
        var metadata: [String: GGUFValue] = [:]
        var tensors: [GGUFTensor] = []
        var tensorIndexes: [String: Int] = [:]
    }

    mutating func header() throws(RuntimeError) -> Header {
        var header = Header()
        guard try number(UInt32.self, "the magic") == 0x4655_4747 else {
            throw RuntimeError(.corrupt, "the file does not begin with GGUF: name a model file in the GGUF format")
        }
        header.version = try version()
        let tensorCount = try count("the tensor count", atMost: GGUFFile.Bound.tensors)
        let keyCount = try count("the metadata count", atMost: GGUFFile.Bound.metadataKeys)
        for index in 0..<keyCount {
            let start = position
            let key = try string("metadata key \(index)", atMost: GGUFFile.Bound.keyBytes)
            let name = "metadata \(Self.printable(key))"
            guard !key.isEmpty else { throw wrong("metadata key \(index) is empty", at: start) }
            let value = try value(of: try type(name), named: name, nesting: 0)
            guard header.metadata.updateValue(value, forKey: key) == nil else {
                throw wrong("\(name) is there twice", at: start)
            }
        }
        let alignment = try alignment(header.metadata["general.alignment"])
        var infos: [TensorInfo] = []
        for index in 0..<tensorCount {
            let info = try tensorInfo(index, alignment: alignment)
            guard header.tensorIndexes.updateValue(index, forKey: info.name) == nil else {
                throw wrong("tensor \(Self.printable(info.name)) is there twice", at: info.position)
            }
            infos.append(info)
        }
        guard tensorCount > 0 else { return header }
        let (padded, overflow) = position.addingReportingOverflow(alignment - 1)
        let base = padded & ~(alignment - 1)
        guard !overflow, base <= bytes.count else { throw wrong("the file ends before its tensors") }
        for info in infos { header.tensors.append(try tensor(info, base: base)) }
        return header
    }

    private mutating func version() throws(RuntimeError) -> Int {
        let start = position
        let version = try number(UInt32.self, "the version")
        switch version {
        case 2, 3: return Int(version)
        case 0x0200_0000, 0x0300_0000:
            throw wrong("the file is for big-endian machines; convert it for little-endian ones", at: start)
        default:
            throw wrong("GGUF version \(version) is not known, only 2 and 3; convert the model anew", at: start)
        }
    }

    private func alignment(_ value: GGUFValue?) throws(RuntimeError) -> Int {
        guard let value else { return 32 }
        guard case .unsigned(let alignment) = value, (1...(1 << 20)).contains(alignment),
            alignment & (alignment - 1) == 0
        else { throw wrong("general.alignment is not a power of two up to 1048576") }
        return Int(alignment)
    }

    // MARK: Tensors

    private struct TensorInfo {
        var name: String
        var dimensions: [Int]
        var elements: Int
        var type: GGUFTensor.TensorType
        var offset: UInt64
        /// Where it stands in the header.
        var position: Int
    }

    private mutating func tensorInfo(_ index: Int, alignment: Int) throws(RuntimeError) -> TensorInfo {
        let start = position
        let name = try string("the name of tensor \(index)", atMost: GGUFFile.Bound.tensorNameBytes)
        let shown = "tensor \(Self.printable(name))"
        guard !name.isEmpty else { throw wrong("tensor \(index) has no name", at: start) }
        let dimensionCount = try number(UInt32.self, shown)
        guard (1...UInt32(GGUFFile.Bound.dimensions)).contains(dimensionCount) else {
            throw wrong("\(shown) has \(dimensionCount) dimensions, not 1 to \(GGUFFile.Bound.dimensions)", at: start)
        }
        var dimensions: [Int] = []
        var elements = 1
        for _ in 0..<dimensionCount {
            guard let dimension = Int(exactly: try number(UInt64.self, shown)), dimension > 0 else {
                throw wrong("\(shown) has a dimension that is 0 or beyond 63 bits", at: start)
            }
            let (product, overflow) = elements.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw wrong("\(shown) has more numbers than 63 bits can count", at: start) }
            elements = product
            dimensions.append(dimension)
        }
        let type = GGUFTensor.TensorType(rawValue: try number(UInt32.self, shown))
        let offset = try number(UInt64.self, shown)
        guard offset & UInt64(alignment - 1) == 0 else {
            throw wrong("\(shown) has the offset \(offset), no multiple of the alignment \(alignment)", at: start)
        }
        return TensorInfo(
            name: name, dimensions: dimensions, elements: elements, type: type, offset: offset, position: start)
    }

    private func tensor(_ info: TensorInfo, base: Int) throws(RuntimeError) -> GGUFTensor {
        let shown = "tensor \(Self.printable(info.name))"
        let available = bytes.count - base
        guard let offset = Int(exactly: info.offset), offset <= available else {
            throw wrong("\(shown) begins past the end of the file", at: info.position)
        }
        var range: Range<Int>?
        if let layout = info.type.layout {
            guard info.dimensions[0].isMultiple(of: layout.blockElements) else {
                throw wrong(
                    "\(shown) has rows of \(info.dimensions[0]) numbers, no multiple of the \(layout.blockElements) "
                        + "in a block of \(layout.name)", at: info.position)
            }
            let (size, overflow) = (info.elements / layout.blockElements)
                .multipliedReportingOverflow(by: layout.blockBytes)
            guard !overflow, size <= available - offset else {
                throw wrong("\(shown) runs past the end of the file", at: info.position)
            }
            range = base + offset..<base + offset + size
        }
        return GGUFTensor(
            name: info.name, dimensions: info.dimensions, type: info.type, elementCount: info.elements,
            byteRange: range)
    }

    // MARK: Values

    /// `name` is for messages. `nesting` is 0 for a value that stands alone.
    mutating func value(
        of type: GGUFValueType, named name: String, nesting: Int
    ) throws(RuntimeError) -> GGUFValue {
        switch type {
        case .uint8: return .unsigned(UInt64(try number(UInt8.self, name)))
        case .uint16: return .unsigned(UInt64(try number(UInt16.self, name)))
        case .uint32: return .unsigned(UInt64(try number(UInt32.self, name)))
        case .uint64: return .unsigned(try number(UInt64.self, name))
        case .int8: return .signed(Int64(try number(Int8.self, name)))
        case .int16: return .signed(Int64(try number(Int16.self, name)))
        case .int32: return .signed(Int64(try number(Int32.self, name)))
        case .int64: return .signed(try number(Int64.self, name))
        case .float32: return .float(Double(Float(bitPattern: try number(UInt32.self, name))))
        case .float64: return .float(Double(bitPattern: try number(UInt64.self, name)))
        case .bool: return .bool(try bool(name))
        case .string: return .string(try string(name))
        case .array: return .array(try array(name, nesting: nesting + 1))
        }
    }

    private mutating func array(_ name: String, nesting: Int) throws(RuntimeError) -> GGUFArray {
        let start = position
        guard nesting <= GGUFFile.Bound.arrayNesting else {
            throw wrong("\(name) nests arrays deeper than \(GGUFFile.Bound.arrayNesting) levels")
        }
        let type = try type(name)
        let declared = try number(UInt64.self, name)
        // Division instead of a product: nothing to overflow.
        guard let count = Int(exactly: declared), count <= remaining / type.minimumBytes else {
            throw wrong("\(name) claims \(declared) elements, more than the rest of the file can hold", at: start)
        }
        let first = position
        if type.isFixedWidth {
            if type == .bool {
                for _ in 0..<count { _ = try bool(name) }
            } else {
                position += count * type.minimumBytes
            }
        } else {
            for _ in 0..<count {
                if type == .string {
                    try skip(try length(name, atMost: Int.max), name)
                } else {
                    _ = try array(name, nesting: nesting + 1)
                }
            }
        }
        return GGUFArray(elementType: type, count: count, range: first..<position, storage: storage)
    }

    private mutating func type(_ name: String) throws(RuntimeError) -> GGUFValueType {
        let start = position
        let raw = try number(UInt32.self, name)
        guard let type = GGUFValueType(rawValue: raw) else {
            throw wrong("\(name) has the unknown value type \(raw)", at: start)
        }
        return type
    }

    private mutating func bool(_ name: String) throws(RuntimeError) -> Bool {
        let start = position
        switch try number(UInt8.self, name) {
        case 0: return false
        case 1: return true
        default: throw wrong("\(name) is neither true nor false", at: start)
        }
    }

    // MARK: Bytes

    private var remaining: Int { bytes.count - position }

    private mutating func number<Value: FixedWidthInteger & BitwiseCopyable>(
        _: Value.Type, _ name: String
    ) throws(RuntimeError) -> Value {
        guard remaining >= MemoryLayout<Value>.size else { throw wrong("the file ends within \(name)") }
        defer { position += MemoryLayout<Value>.size }
        return Value(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Value.self))
    }

    private mutating func count(_ name: String, atMost limit: Int) throws(RuntimeError) -> Int {
        let start = position
        let count = try number(UInt64.self, name)
        guard count <= UInt64(limit) else { throw wrong("\(name) is \(count), more than \(limit)", at: start) }
        return Int(count)
    }

    private mutating func length(_ name: String, atMost limit: Int) throws(RuntimeError) -> Int {
        let start = position
        let declared = try number(UInt64.self, name)
        guard let length = Int(exactly: declared), length <= remaining else {
            throw wrong("\(name) claims \(declared) bytes, more than the \(remaining) left in the file", at: start)
        }
        guard length <= limit else { throw wrong("\(name) has \(length) bytes, more than \(limit)", at: start) }
        return length
    }

    private mutating func string(_ name: String, atMost limit: Int = Int.max) throws(RuntimeError) -> String {
        let length = try length(name, atMost: limit)
        defer { position += length }
        return String(decoding: bytes[position..<position + length], as: UTF8.self)
    }

    private mutating func skip(_ count: Int, _ name: String) throws(RuntimeError) {
        guard count <= remaining else { throw wrong("the file ends within \(name)") }
        position += count
    }

    // MARK: Messages

    private func wrong(_ what: String, at place: Int? = nil) -> RuntimeError {
        RuntimeError(
            .corrupt, "the model file is damaged at byte \(place ?? position): \(what); fetch or convert it again")
    }

    private static func printable(_ name: String) -> String { GGUFFile.printable(name) }
}

extension GGUFFile {
    /// A name from a file, safe to print: short, and without anything a terminal would act on.
    package static func printable(_ name: String) -> String {
        var text = ""
        for scalar in name.unicodeScalars.prefix(80) {
            text += (0x21...0x7E).contains(scalar.value) ? String(scalar) : "?"
        }
        return text.isEmpty ? "(no name)" : text
    }
}
