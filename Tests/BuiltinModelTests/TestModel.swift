import Core
import GGUF

@testable import BuiltinModel

/// Small networks with random weights: what they write is nonsense, but always the same nonsense.
enum TestModel {
    enum Precision: UInt32, CaseIterable {
        case f32 = 0
        case f16 = 1
        case q8 = 8
    }

    static let controls = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]

    /// 32 wide, 2 layers, 2 heads that share one key and value head.
    static func writer(_ precision: Precision = .q8, context: UInt32 = 160, seed: UInt64 = 1) -> GGUFWriter {
        var random = SplitMix64(seed: seed)
        var writer = GGUFWriter()
        writer.metadata = [
            ("general.architecture", .text("llama")), ("general.name", .text("test model!")),
            ("llama.context_length", .uint32(context)), ("llama.embedding_length", .uint32(32)),
            ("llama.block_count", .uint32(2)), ("llama.feed_forward_length", .uint32(64)),
            ("llama.attention.head_count", .uint32(2)), ("llama.attention.head_count_kv", .uint32(1)),
            ("tokenizer.ggml.model", .text("gpt2")),
            ("tokenizer.ggml.tokens", .texts(letters + controls)),
            ("tokenizer.ggml.token_type", .numbers(letters.map { _ in 1 } + controls.map { _ in 3 })),
            ("tokenizer.ggml.merges", .texts(["Ā Ā"])), ("tokenizer.ggml.eos_token_id", .uint32(260)),
        ]
        func add(_ name: String, _ rows: Int, _ columns: Int) {
            let values = (0..<rows * columns).map { _ in Float(random.unit() - 0.5) }
            writer.tensors.append(
                .init(
                    name: "\(name).weight", dimensions: [UInt64(columns), UInt64(rows)], type: precision.rawValue,
                    data: encode(values, precision)))
        }
        func addNorm(_ name: String) {
            let ones = (0..<32).map { _ in Float(0.5 + random.unit()) }
            writer.tensors.append(
                .init(name: "\(name).weight", dimensions: [32], type: 0, data: encode(ones, .f32)))
        }
        add("token_embd", 261, 32)
        addNorm("output_norm")
        for layer in 0..<2 {
            addNorm("blk.\(layer).attn_norm")
            addNorm("blk.\(layer).ffn_norm")
            for (name, rows, columns) in [
                ("attn_q", 32, 32), ("attn_k", 16, 32), ("attn_v", 16, 32), ("attn_output", 32, 32),
                ("ffn_gate", 64, 32), ("ffn_up", 64, 32), ("ffn_down", 32, 64),
            ] { add("blk.\(layer).\(name)", rows, columns) }
        }
        return writer
    }

    static func make(_ precision: Precision = .q8, context: UInt32 = 160, seed: UInt64 = 1) throws -> LlamaModel {
        try LlamaModel(try GGUFFile(bytes: writer(precision, context: context, seed: seed).bytes))
    }

    static func scheduler(
        slots: Int = 2, pace: Double? = nil, context: UInt32 = 160, seed: UInt64 = 1
    ) throws -> Scheduler {
        try Scheduler(try make(context: context, seed: seed), slots: slots, pace: pace, entropy: { 0 })
    }

    static func encode(_ values: [Float], _ precision: Precision) -> [UInt8] {
        var bytes: [UInt8] = []
        func put(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        switch precision {
        case .f32: for value in values { put(value.bitPattern) }
        case .f16: for value in values { put(Float16(value).bitPattern) }
        case .q8:
            for start in stride(from: 0, to: values.count, by: 32) {
                let block = values[start..<start + 32]
                let scale = Float16((block.map(abs).max() ?? 0) / 127)
                put(scale.bitPattern)
                for value in block { put(Int8((value / max(Float(scale), 1e-9)).rounded().clamped(to: -127...127))) }
            }
        }
        return bytes
    }

    /// GPT-2's letters for the 256 bytes, in the bytes' order.
    static let letters: [String] = {
        var others: UInt16 = 256
        return (UInt8.min...UInt8.max).map { byte in
            switch byte {
            case 33...126, 161...172, 174...255: return String(Unicode.Scalar(byte))
            default:
                defer { others += 1 }
                return Unicode.Scalar(others).map { String($0) } ?? ""
            }
        }
    }()
}

extension Float {
    fileprivate func clamped(to range: ClosedRange<Float>) -> Float {
        Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
    }
}

extension Scheduler {
    /// Runs one answer to its end and gives its text and its last event's numbers.
    func answer(_ order: GenerationOrder) -> (text: String, ending: Ending?, usage: TokenUsage?) {
        submit(order)
        var text = ""
        while case .now = wake(at: .zero) {
            for event in advance(at: .zero) {
                switch event {
                case .text(_, let piece): text += piece
                case .done(_, let ending, let usage): return (text, ending, usage)
                }
            }
        }
        return (text, nil, nil)
    }

    func order(
        _ id: String, _ messages: [Message], maximumTokens: Int = 20, stop: [String] = [],
        sampling: Sampling = Sampling()
    ) -> GenerationOrder {
        GenerationOrder(
            id: id, prompt: model.vocabulary.prompt(messages), maximumTokens: maximumTokens, stop: stop,
            sampling: sampling)
    }
}
