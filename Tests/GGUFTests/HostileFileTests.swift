import Core
import GGUF
import Testing

/// One way to be wrong, and a word that the message must hold.
struct HostileFile: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let word: String

    var testDescription: String { name }

    init(_ name: String, names word: String, _ change: (inout GGUFWriter) -> Void) {
        var writer = sample()
        change(&writer)
        self.name = name
        bytes = writer.bytes
        self.word = word
    }

    private static func tensor(
        _ name: String = "evil", _ dimensions: [UInt64] = [32], type: UInt32 = 0, offset: UInt64? = nil,
        bytes: Int = 128
    ) -> GGUFWriter.Tensor {
        .init(
            name: name, dimensions: dimensions, type: type, offset: offset,
            data: [UInt8](repeating: 0, count: bytes))
    }

    static let all: [HostileFile] = [
        HostileFile("another magic", names: "GGUF") { $0.magic = Array("GGML".utf8) },
        HostileFile("version 1", names: "version 1") { $0.version = 1 },
        HostileFile("version 4", names: "version 4") { $0.version = 4 },
        HostileFile("big-endian", names: "big-endian") { $0.version = UInt32(3).byteSwapped },
        // Counts (CVE-2024-39720: allocation without limit)
        HostileFile("2^64-1 keys", names: "metadata count") { $0.metadataCount = .max },
        HostileFile("65,537 keys", names: "metadata count") { $0.metadataCount = 65_537 },
        HostileFile("2^63 tensors", names: "tensor count") { $0.tensorCount = 1 << 63 },
        HostileFile("one key too many", names: "byte") { $0.metadataCount = UInt64($0.metadata.count + 40) },
        HostileFile("array of 2^62 strings", names: "key0") {
            $0.metadata = [("key0", .array(8, 1 << 62, [.text("a")]))]
        },
        HostileFile("array whose size in bytes wraps around", names: "key0") {
            $0.metadata = [("key0", .array(12, 1 << 61, [.float64(0)]))]
        },
        HostileFile("array of 2^64-1 bytes", names: "key0") { $0.metadata = [("key0", .array(0, .max, []))] },
        HostileFile("array one longer than the file", names: "key0") {
            $0.metadata = [("key0", .array(0, 201, (0..<200).map { .uint8($0) }))]
            $0.tensors = []
        },
        HostileFile("arrays in arrays in arrays in arrays in arrays", names: "key0") {
            var value = GGUFWriter.Value.array(0, 0, [])
            for _ in 0..<5 { value = .array(9, 1, [value]) }
            $0.metadata = [("key0", value)]
        },
        HostileFile("element of an unknown type", names: "key0") { $0.metadata = [("key0", .array(13, 1, []))] },
        HostileFile("value of an unknown type", names: "unknown value type 4294967295") {
            $0.metadata = [("key0", .unknown(.max))]
        },
        HostileFile("bool of 2", names: "key0") { $0.metadata = [("key0", .bool(2))] },
        HostileFile("bool of 2 in an array", names: "key0") { $0.metadata = [("key0", .array(7, 1, [.bool(2)]))] },
        HostileFile("empty key", names: "metadata key 0") { $0.metadata = [("", .uint8(0))] },
        HostileFile("a key twice", names: "twice") { $0.metadata = [("key0", .uint8(0)), ("key0", .uint8(1))] },
        HostileFile("a key of 65,536 bytes", names: "metadata key 0") {
            $0.metadata = [(String(repeating: "k", count: 65_536), .uint8(0))]
        },
        // Alignment (division by zero, wrapped padding)
        HostileFile("alignment 0", names: "general.alignment") { $0.metadata = [("general.alignment", .uint32(0))] },
        HostileFile("alignment 48", names: "general.alignment") { $0.metadata = [("general.alignment", .uint32(48))] },
        HostileFile("alignment 2^63", names: "general.alignment") {
            $0.metadata = [("general.alignment", .uint64(1 << 63))]
        },
        HostileFile("alignment as text", names: "general.alignment") {
            $0.metadata = [("general.alignment", .text("32"))]
        },
        // Tensors (CVE-2025-53630 and CVE-2026-27940: products that wrap; CVE-2026-7482: sizes past the file)
        HostileFile("no dimensions", names: "evil") { $0.tensors = [tensor("evil", [])] },
        HostileFile("five dimensions", names: "evil") { $0.tensors = [tensor("evil", [1, 1, 1, 1, 1])] },
        HostileFile("a dimension of 0", names: "evil") { $0.tensors = [tensor("evil", [32, 0])] },
        HostileFile("a dimension of 2^63", names: "evil") { $0.tensors = [tensor("evil", [1 << 63])] },
        HostileFile("dimensions whose product wraps to 0", names: "evil") {
            $0.tensors = [tensor("evil", [1 << 32, 1 << 32])]
        },
        HostileFile("dimensions whose product wraps to 32", names: "evil") {
            $0.tensors = [tensor("evil", [32, (1 << 62) + 1, 4])]
        },
        HostileFile("a size in bytes that wraps", names: "evil") { $0.tensors = [tensor("evil", [1 << 62])] },
        HostileFile("data one number longer than the file", names: "evil") { $0.tensors = [tensor("evil", [33])] },
        HostileFile("an offset past the end", names: "evil") { $0.tensors = [tensor(offset: 1 << 20)] },
        HostileFile("an offset of 2^64-32", names: "evil") { $0.tensors = [tensor(offset: .max - 31)] },
        HostileFile("an offset of 2^63-32 (base + offset wraps)", names: "evil") {
            $0.tensors = [tensor(offset: UInt64(Int64.max) - 31)]
        },
        HostileFile("an offset at the very end", names: "evil") { $0.tensors = [tensor(offset: 128)] },
        HostileFile("an offset that is not aligned", names: "alignment") { $0.tensors = [tensor(offset: 8)] },
        HostileFile("rows that end within a block", names: "evil") {
            $0.tensors = [tensor("evil", [33], type: 8)]
        },
        HostileFile("a tensor twice", names: "twice") { $0.tensors = [tensor(), tensor()] },
        HostileFile("a tensor without a name", names: "tensor 0") { $0.tensors = [tensor("")] },
        HostileFile("a tensor's name of 65 bytes", names: "tensor 0") {
            $0.tensors = [tensor(String(repeating: "n", count: 65))]
        },
        HostileFile("an unknown type with an offset past the end", names: "evil") {
            $0.tensors = [tensor("evil", [32], type: 99, offset: 1 << 40)]
        },
    ]
}

@Suite("Hostile GGUF files")
struct HostileFileTests {
    @Test("Each is refused with a message that names the place", arguments: HostileFile.all)
    func refused(file: HostileFile) throws {
        let error = #expect(throws: RuntimeError.self) { try GGUFFile(bytes: file.bytes) }
        #expect(error?.code == .corrupt)
        #expect(error?.message.contains(file.word) == true, "\(error?.message ?? "no message")")
    }

    @Test("A file cut at any byte is refused")
    func truncated() throws {
        let bytes = sample().bytes
        for count in 0..<bytes.count {
            let error = #expect(throws: RuntimeError.self, "cut after \(count) of \(bytes.count) bytes") {
                try GGUFFile(bytes: Array(bytes.prefix(count)))
            }
            #expect(error?.code == .corrupt)
        }
        _ = try GGUFFile(bytes: bytes)
    }

    @Test(
        "Ten thousand damaged files are read or refused, and what is read can be used", arguments: [1, 2] as [UInt64])
    func bitFlips(seed: UInt64) {
        let bytes = sample().bytes
        var random = Xorshift(seed: seed)
        var refused = 0
        for _ in 0..<5_000 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                damaged[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random)
            }
            do throws(RuntimeError) {
                let file = try GGUFFile(bytes: damaged)
                for value in file.metadata.values { touch(value) }
                for tensor in file.tensors {
                    if let range = tensor.byteRange { #expect(range.upperBound <= damaged.count) }
                }
            } catch {
                refused += 1
                #expect(error.code == .corrupt, "seed \(seed): \(error)")
            }
        }
        #expect(refused > 500, "seed \(seed): the damage is too slight to tell")
    }

    @Test("Names from the file cannot act on a terminal")
    func printableNames() {
        var writer = GGUFWriter()
        writer.metadata = [("a\u{1B}[2Jb", .bool(7))]
        let error = #expect(throws: RuntimeError.self) { try GGUFFile(bytes: writer.bytes) }
        #expect(error?.message.contains("a?[2Jb") == true)
    }

    private func touch(_ value: GGUFValue) {
        guard case .array(let array) = value else { return }
        for element in array.values { touch(element) }
    }
}

struct Xorshift: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
