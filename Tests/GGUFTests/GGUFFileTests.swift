import Core
import GGUF
import Glibc
import Testing

/// A small file with a value of every type, nested arrays and two tensors.
func sample() -> GGUFWriter {
    var writer = GGUFWriter()
    writer.metadata = [
        ("general.architecture", .text("llama")), ("llama.context_length", .uint32(2048)), ("u8", .uint8(200)),
        ("i8", .int8(-100)), ("u16", .uint16(60_000)), ("i16", .int16(-30_000)), ("i32", .int32(-2_000_000_000)),
        ("f32", .float32(0.5)), ("yes", .bool(1)), ("u64", .uint64(.max)), ("i64", .int64(.min)),
        ("f64", .float64(0.25)), ("tokens", .texts(["a", "", "żółw"])), ("types", .numbers([1, -2, 3])),
        ("nested", .array(9, 2, [.array(0, 2, [.uint8(1), .uint8(2)]), .array(8, 1, [.text("x")])])),
        ("flags", .array(7, 2, [.bool(0), .bool(1)])), ("floats", .array(6, 1, [.float32(1.5)])),
    ]
    writer.tensors = [
        .init(name: "first", dimensions: [3], type: 0, data: [UInt8](repeating: 1, count: 12)),
        .init(name: "second", dimensions: [32, 2], type: 8, data: [UInt8](repeating: 2, count: 68)),
    ]
    return writer
}

@Suite("What a GGUF file holds")
struct GGUFFileTests {
    @Test("Values of every type are read", arguments: [2, 3] as [UInt32])
    func values(version: UInt32) throws {
        var writer = sample()
        writer.version = version
        let file = try GGUFFile(bytes: writer.bytes)
        #expect(file.version == Int(version))
        #expect(file.architecture == "llama")
        #expect(file.contextLength == 2048)
        #expect(file.integer("u8") == 200)
        #expect(file.integer("i8") == -100)
        #expect(file.integer("u16") == 60_000)
        #expect(file.integer("i16") == -30_000)
        #expect(file.integer("i32") == -2_000_000_000)
        #expect(file.integer("i64") == Int.min)
        #expect(file.float("f32") == 0.5)
        #expect(file.float("f64") == 0.25)
        #expect(file.float("u8") == 200)
        #expect(file.bool("yes") == true)
        #expect(file.strings("tokens") == ["a", "", "żółw"])
        #expect(file.integers("types") == [1, -2, 3])
        #expect(file.array("floats")?.floats == [1.5])
        #expect(file.array("flags")?.values.count == 2)
        #expect(file.count("tokens") == 3)
        guard case .array(let inner)? = file.array("nested")?.values.last else {
            Issue.record("the nested array is missing")
            return
        }
        #expect(inner.strings == ["x"])
    }

    @Test("What the swarm is told of a model's file")
    func modelFile() throws {
        var writer = sample()
        let unnamed = try GGUFFile(bytes: writer.bytes).modelFile
        #expect(
            unnamed
                == ModelFile(
                    bytes: writer.bytes.count, architecture: "llama", parameters: 3 + 64, quantization: "Q8_0",
                    trainedContext: 2_048))
        writer.metadata.append(("general.file_type", .uint32(15)))
        #expect(try GGUFFile(bytes: writer.bytes).modelFile.quantization == "Q4_K_M")
    }

    @Test("An accessor of another type gives nothing")
    func otherTypes() throws {
        let file = try GGUFFile(bytes: sample().bytes)
        #expect(file.integer("u64") == nil, "it does not fit Int")
        #expect(file.string("u8") == nil)
        #expect(file.integer("f32") == nil)
        #expect(file.strings("types") == nil)
        #expect(file.integers("tokens") == nil)
        #expect(file.string("missing") == nil)
    }

    @Test("Tensors lie where the header says")
    func tensors() throws {
        let file = try GGUFFile(bytes: sample().bytes)
        let second = try #require(file.tensor("second"))
        #expect(second.dimensions == [32, 2])
        #expect(second.elementCount == 64)
        #expect(second.type == .q8)
        #expect(second.type.description == "Q8_0")
        let range = try #require(second.byteRange)
        #expect(file.withBytes { Array($0[range]) } == [UInt8](repeating: 2, count: 68))
        #expect(file.tensor("first")?.byteRange?.count == 12)
        #expect(file.tensor("third") == nil)
    }

    @Test("A tensor of a type from the future has no range, and the header is read")
    func unknownTensorType() throws {
        var writer = sample()
        writer.tensors[1].type = 99
        let tensor = try #require(try GGUFFile(bytes: writer.bytes).tensor("second"))
        #expect(tensor.byteRange == nil)
        #expect(tensor.type.description == "type 99")
    }

    // 10 ms in a debug build on an idle core; minutes, if the work grew with the square.
    @Test("A vocabulary of 150,000 tokens is read fast and stays in the file", .timeLimit(.minutes(1)))
    func largeVocabulary() throws {
        var writer = GGUFWriter()
        writer.metadata = [("tokenizer.ggml.tokens", .texts((0..<150_000).map { "token\($0)" }))]
        let bytes = writer.bytes
        let file = try GGUFFile(bytes: bytes)
        #expect(file.count("tokenizer.ggml.tokens") == 150_000)
        #expect(file.strings("tokenizer.ggml.tokens")?.last == "token149999")
    }

    @Test("A file on disk is mapped, and its bytes outlive the value while a tensor is used")
    func mapping() throws {
        let path = "/tmp/igris-gguf-test-\(getpid()).gguf"
        let bytes = sample().bytes
        let descriptor = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0o600)
        try #require(descriptor >= 0)
        #expect(write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
        defer { unlink(path) }
        let file = try GGUFFile(path: path)
        #expect(file.byteCount == bytes.count)
        #expect(file.strings("tokens") == ["a", "", "żółw"])
    }

    @Test(
        "What is not a regular file is refused at once, without its path",
        arguments: ["/dev/zero", "/dev/random", "/tmp", "fifo", "/nowhere/model.gguf"])
    func notAFile(path: String) throws {
        var path = path
        if path == "fifo" {
            path = "/tmp/igris-gguf-fifo-\(getpid())"
            try #require(mkfifo(path, 0o600) == 0)
        }
        defer { if path.contains("igris-gguf-fifo") { unlink(path) } }
        let error = #expect(throws: RuntimeError.self) { try GGUFFile(path: path) }
        #expect(error?.code == .configuration)
        #expect(error?.message.contains(path) == false)
    }
}
