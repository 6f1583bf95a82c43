import Core
import GGUF

/// A llama-architecture network with a byte vocabulary, ready to run.
final class LlamaModel {
    let shape: LlamaShape
    let vocabulary: ByteVocabulary
    /// `general.name`, fit for a wire; `model` where the file names none.
    let name: String
    /// Name, precision and a hash of the file: which weights answer.
    let fingerprint: String

    let embedding: WeightMatrix
    let output: WeightMatrix
    let outputNorm: [Float]
    let layers: [Layer]

    struct Layer {
        let attentionNorm: [Float]
        let query: WeightMatrix
        let key: WeightMatrix
        let value: WeightMatrix
        let attentionOutput: WeightMatrix
        let feedForwardNorm: [Float]
        let gate: WeightMatrix
        let up: WeightMatrix
        let down: WeightMatrix
    }

    /// - Throws: ``RuntimeError`` `.configuration` naming what the built-in engine cannot run.
    init(_ file: GGUFFile) throws(RuntimeError) {
        shape = try LlamaShape(file)
        vocabulary = try ByteVocabulary(file)
        try Self.refuseUnknownTensors(file, layers: shape.layers)
        embedding = try WeightMatrix(
            "token_embd.weight", in: file, rows: vocabulary.count, columns: shape.width)
        output =
            file.tensor("output.weight") == nil
            ? embedding
            : try WeightMatrix("output.weight", in: file, rows: vocabulary.count, columns: shape.width)
        outputNorm = try WeightMatrix.vector("output_norm.weight", in: file, count: shape.width)
        var layers: [Layer] = []
        for index in 0..<shape.layers { layers.append(try Layer(index, shape, file)) }
        self.layers = layers
        name = Self.wireName(file.string("general.name") ?? "")
        let precision = file.tensor("token_embd.weight").map { $0.type.description.lowercased() } ?? "unknown"
        fingerprint = "\(name)-\(precision)@\(file.withBytes(Self.hash))"
    }

    /// A tensor that we do not use would change the answers of the program it was made for.
    private static func refuseUnknownTensors(_ file: GGUFFile, layers: Int) throws(RuntimeError) {
        var known: Set<String> = ["token_embd.weight", "output.weight", "output_norm.weight"]
        for index in 0..<layers { known.formUnion(Layer.names.map { "blk.\(index).\($0).weight" }) }
        for tensor in file.tensors where !known.contains(tensor.name) {
            throw .notForBuiltin("tensor \(GGUFFile.printable(tensor.name)) is not part of a plain llama network")
        }
    }

    private static func wireName(_ name: String) -> String {
        let kept = name.unicodeScalars.filter {
            $0.isASCII
                && ($0.properties.isAlphabetic || $0.properties.numericType != nil || "-._".unicodeScalars.contains($0))
        }
        let text = String(String.UnicodeScalarView(kept.prefix(64)))
        return text.isEmpty ? "model" : text
    }

    /// FNV-1a over 8 bytes at a time: tells files apart, and is no proof against forgery.
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        var position = 0
        while position + 8 <= bytes.count {
            hash =
                (hash ^ UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
                &* 0x100_0000_01B3
            position += 8
        }
        for byte in bytes[position...] { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(UInt32(truncatingIfNeeded: hash ^ hash >> 32), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}

extension LlamaModel.Layer {
    fileprivate static let names = [
        "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
    ]

    fileprivate init(_ index: Int, _ shape: LlamaShape, _ file: GGUFFile) throws(RuntimeError) {
        func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(RuntimeError) -> WeightMatrix {
            try WeightMatrix("blk.\(index).\(name).weight", in: file, rows: rows, columns: columns)
        }
        func norm(_ name: String) throws(RuntimeError) -> [Float] {
            try WeightMatrix.vector("blk.\(index).\(name).weight", in: file, count: shape.width)
        }
        attentionNorm = try norm("attn_norm")
        query = try matrix("attn_q", shape.width, shape.width)
        key = try matrix("attn_k", shape.keyValueWidth, shape.width)
        value = try matrix("attn_v", shape.keyValueWidth, shape.width)
        attentionOutput = try matrix("attn_output", shape.width, shape.width)
        feedForwardNorm = try norm("ffn_norm")
        gate = try matrix("ffn_gate", shape.hidden, shape.width)
        up = try matrix("ffn_up", shape.hidden, shape.width)
        down = try matrix("ffn_down", shape.width, shape.hidden)
    }
}
