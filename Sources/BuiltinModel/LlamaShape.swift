import Core
import GGUF

/// The sizes of a llama-architecture network, checked against each other.
struct LlamaShape: Sendable {
    let contextLength: Int
    /// Numbers in one embedding.
    let width: Int
    let layers: Int
    /// Numbers in the middle of the feed-forward part.
    let hidden: Int
    let heads: Int
    /// Fewer than `heads` where several query heads share one.
    let keyValueHeads: Int
    let headWidth: Int
    let epsilon: Float
    let ropeBase: Float

    /// Numbers of the keys (or values) of one token in one layer.
    var keyValueWidth: Int { keyValueHeads * headWidth }

    init(_ file: GGUFFile) throws(RuntimeError) {
        guard file.architecture == "llama" else {
            let found = file.architecture.map { GGUFFile.printable($0) } ?? "unnamed"
            throw .notForBuiltin("its architecture is \(found), not llama")
        }
        contextLength = try Self.size("context_length", of: file, 2...1 << 20)
        width = try Self.size("embedding_length", of: file, 16...1 << 14)
        layers = try Self.size("block_count", of: file, 1...256)
        hidden = try Self.size("feed_forward_length", of: file, 16...1 << 16)
        heads = try Self.size("attention.head_count", of: file, 1...1024)
        keyValueHeads =
            file.metadata["llama.attention.head_count_kv"] == nil
            ? heads : try Self.size("attention.head_count_kv", of: file, 1...heads)
        guard width.isMultiple(of: heads), heads.isMultiple(of: keyValueHeads) else {
            throw .notForBuiltin("its \(heads) heads do not divide its width of \(width)")
        }
        headWidth = width / heads
        guard headWidth.isMultiple(of: 16), width.isMultiple(of: 16), hidden.isMultiple(of: 16) else {
            throw .notForBuiltin("its head, embedding and feed-forward widths are not all multiples of 16")
        }
        for key in ["rope.dimension_count", "attention.key_length", "attention.value_length"]
        where file.metadata["llama.\(key)"] != nil {
            guard file.integer("llama.\(key)") == headWidth else {
                throw .notForBuiltin("llama.\(key) is not the head width of \(headWidth)")
            }
        }
        if let scaling = file.string("llama.rope.scaling.type"), scaling != "none" {
            throw .notForBuiltin("it scales its positions (llama.rope.scaling.type)")
        }
        guard (file.integer("llama.expert_count") ?? 0) == 0 else { throw .notForBuiltin("it has experts") }
        epsilon = Float(file.float("llama.attention.layer_norm_rms_epsilon") ?? 1e-5)
        ropeBase = Float(file.float("llama.rope.freq_base") ?? 10_000)
        guard epsilon > 0, epsilon < 1, ropeBase >= 1, ropeBase.isFinite else {
            throw .notForBuiltin("its normalisation epsilon or its position base is out of range")
        }
    }

    private static func size(
        _ key: String, of file: GGUFFile, _ range: ClosedRange<Int>
    ) throws(RuntimeError) -> Int {
        guard let value = file.integer("llama.\(key)") else {
            throw .notForBuiltin("llama.\(key) is missing or not one whole number")
        }
        guard range.contains(value) else {
            throw .notForBuiltin("llama.\(key) is \(value), not within \(range.lowerBound)…\(range.upperBound)")
        }
        return value
    }
}

extension RuntimeError {
    /// A model that only another engine can run.
    static func notForBuiltin(_ reason: String) -> RuntimeError {
        RuntimeError(
            .configuration,
            "the built-in engine cannot run this model: \(reason); run it with llama-completion or llama-server")
    }
}
