import Core
import GGUF
import Glibc
import Testing

@testable import BuiltinModel

@Suite("The network")
struct LlamaModelTests {
    @Test("The whole of a matrix and a vector is multiplied", arguments: TestModel.Precision.allCases)
    func products(precision: TestModel.Precision) throws {
        var random = SplitMix64(seed: 9)
        let weights = (0..<5 * 64).map { _ in Float(random.unit() - 0.5) }
        var writer = GGUFWriter()
        writer.tensors = [
            .init(
                name: "m", dimensions: [64, 5], type: precision.rawValue,
                data: TestModel.encode(weights, precision))
        ]
        let matrix = try WeightMatrix("m", in: try GGUFFile(bytes: writer.bytes), rows: 5, columns: 64)
        let input = Activation(count: 64)
        for index in 0..<64 { input.floats[index] = Float(random.unit() - 0.5) }
        input.changed()
        let output = UnsafeMutableBufferPointer<Float>.allocate(capacity: 5)
        defer { output.deallocate() }
        matrix.multiply(input, into: try #require(output.baseAddress))
        let row = UnsafeMutableBufferPointer<Float>.allocate(capacity: 64)
        defer { row.deallocate() }
        for index in 0..<5 {
            let expected = (0..<64).reduce(0.0) { $0 + Double(weights[index * 64 + $1]) * Double(input.floats[$1]) }
            // Q8_0 keeps about 8 bits of each factor.
            #expect(abs(Double(output[index]) - expected) < (precision == .q8 ? 0.03 : 0.003))
            matrix.copyRow(index, to: try #require(row.baseAddress))
            #expect((0..<64).allSatisfy { abs(row[$0] - weights[index * 64 + $0]) < 0.003 })
        }
    }

    @Test("The exponential is right to seven digits and never overflows")
    func exponentials() {
        for step in -800...800 {
            let power = Float(step) / 10
            let wanted = exp(Double(power))
            let found = Double(exponential(SIMD8(repeating: power))[3])
            #expect(abs(found - wanted) <= wanted * 3e-7, "e^\(power)")
        }
        for power in [Float.infinity, -Float.infinity, 1e30, -1e30] {
            let found = exponential(SIMD8(repeating: power))[0]
            #expect(found.isFinite && found >= 0, "e^\(power)")
        }
    }

    @Test("The result does not depend on how a prompt is cut", arguments: TestModel.Precision.allCases)
    func pieces(precision: TestModel.Precision) throws {
        let model = try TestModel.make(precision)
        let pass = ForwardPass(model)
        let tokens = model.vocabulary.prompt([Message(.user, "the same tokens, cut at other places")])
        func logits(piece: Int) throws -> [Float] {
            let cache = try KeyValueCache(model.shape)
            for start in stride(from: 0, to: tokens.count, by: piece) {
                let end = min(start + piece, tokens.count)
                pass.evaluate(tokens[start..<end], in: cache, wantsLogits: end == tokens.count)
            }
            return Array(pass.logits)
        }
        let one = try logits(piece: 1)
        #expect(try logits(piece: 8) == one)
        #expect(try logits(piece: 5) == one)
        #expect(Set(one).count > 200, "a network that says nothing proves nothing")
    }

    @Test("Weights that are infinite or no numbers end in some token, not in a trap")
    func brokenWeights() throws {
        var writer = TestModel.writer(.q8)
        for tensor in writer.tensors.indices where writer.tensors[tensor].type == 8 {
            for block in stride(from: 0, to: writer.tensors[tensor].data.count, by: 34 * 3) {
                writer.tensors[tensor].data.replaceSubrange(
                    block..<block + 2, with: [0x00, block % 2 == 0 ? 0x7C : 0x7E])
            }
        }
        let model = try LlamaModel(try GGUFFile(bytes: writer.bytes))
        for temperature in [0.0, 1.0] {
            let scheduler = try Scheduler(model, slots: 1, pace: nil, entropy: { 0 })
            let order = scheduler.order(
                "a", [Message(.user, "x")], maximumTokens: 3, sampling: Sampling(temperature: temperature))
            #expect(scheduler.answer(order).ending != nil)
        }
    }

    @Test("igris-recall, embedded in the program, remembers Alice")
    func demonstration() throws {
        let session = try EngineProgram.start(.embedded, pace: nil, slots: 1)
        let lines = """
            {"op":"generate","id":"a","max_tokens":64,"messages":[{"role":"user","content":"Remember: my name is Alice"},
            {"role":"assistant","content":"I will remember that your name is Alice"},
            {"role":"user","content":"What is my name?"}]}
            """
        #expect(session.receive(Array(lines.utf8)).isEmpty)
        var text = ""
        while case .now = session.wake(at: .zero) {
            for line in session.advance(at: .zero).split(separator: UInt8(ascii: "\n")) {
                text += try JSON.parse(Array(line))["text"]?.string ?? ""
            }
        }
        #expect(text == "Your name is Alice")
    }
}

/// A model that the built-in engine must refuse, and a word of the reason.
struct ForeignModel: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let word: String
    let bytes: [UInt8]

    init(_ name: String, names word: String, _ change: (inout GGUFWriter) -> Void) {
        var writer = TestModel.writer()
        change(&writer)
        testDescription = name
        self.word = word
        bytes = writer.bytes
    }

    static let all: [ForeignModel] = [
        ForeignModel("another architecture", names: "phi3") { $0.set("general.architecture", .text("phi3")) },
        ForeignModel("no context length", names: "context_length") { $0.set("llama.context_length", .text("long")) },
        ForeignModel("a context of 2^40", names: "context_length") { $0.set("llama.context_length", .uint64(1 << 40)) },
        ForeignModel("no heads", names: "head_count") { $0.set("llama.attention.head_count", .uint32(0)) },
        ForeignModel("heads that do not divide the width", names: "heads") {
            $0.set("llama.attention.head_count", .uint32(3))
        },
        ForeignModel("experts", names: "experts") { $0.set("llama.expert_count", .uint32(8)) },
        ForeignModel("scaled positions", names: "positions") { $0.set("llama.rope.scaling.type", .text("yarn")) },
        ForeignModel("a SentencePiece vocabulary", names: "bytes") { $0.set("tokenizer.ggml.model", .text("llama")) },
        ForeignModel("a token of two bytes", names: "bytes") {
            $0.set("tokenizer.ggml.tokens", .texts(["aa"] + TestModel.letters.dropFirst() + TestModel.controls))
        },
        ForeignModel("a byte that is missing", names: "lacks") {
            $0.set("tokenizer.ggml.tokens", .texts(["b"] + TestModel.letters.dropFirst() + TestModel.controls))
        },
        ForeignModel("merges", names: "merges") { $0.set("tokenizer.ggml.merges", .texts(["<|en d|>"])) },
        ForeignModel("fewer types than tokens", names: "bytes") { $0.set("tokenizer.ggml.token_type", .numbers([1])) },
        ForeignModel("no turn words", names: "<|end|>") {
            $0.set("tokenizer.ggml.tokens", .texts(TestModel.letters + ["a0", "a1", "a2", "a3", "a4"]))
        },
        ForeignModel("a missing tensor", names: "blk.1.ffn_down") { $0.tensors.removeLast() },
        ForeignModel("a tensor of another shape", names: "blk.1.ffn_down") {
            $0.tensors[$0.tensors.count - 1].dimensions = [32, 64]
        },
        ForeignModel("a tensor of another type", names: "Q4_0") {
            $0.tensors[$0.tensors.count - 1].type = 2
        },
        ForeignModel("a tensor that nobody knows", names: "attn_q.bias") {
            $0.tensors.append(
                .init(name: "blk.0.attn_q.bias", dimensions: [1], type: 0, data: [0, 0, 0, 0]))
        },
    ]
}

extension GGUFWriter {
    mutating func set(_ key: String, _ value: Value) {
        metadata.removeAll { $0.key == key }
        metadata.append((key, value))
    }
}

@Suite("Models for other engines")
struct ForeignModelTests {
    @Test("Each is refused with its reason and the engines that can run it", arguments: ForeignModel.all)
    func refused(model: ForeignModel) throws {
        let file = try GGUFFile(bytes: model.bytes)
        let error = #expect(throws: RuntimeError.self) { try LlamaModel(file) }
        #expect(error?.code == .configuration)
        #expect(error?.message.contains(model.word) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("llama-server") == true)
    }
}
