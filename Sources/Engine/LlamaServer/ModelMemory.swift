import Core
import GGUF

/// What a llama-server will take of the memory, before it is started.
package enum ModelMemory {
    /// The program itself, and what it computes in.
    private static let program = 48 * 1024 * 1024
    /// Of the cache, where the header does not tell the model's shape: as a model of eight thousand million parameters.
    private static let usualBytesPerToken = 131_072

    /// Weights, and a cache of keys and values for each slot's context, in 16 bits; 0 where the file cannot be read. A
    /// short blocking read.
    package static func estimate(path: String, context: Int?, slots: Int?) -> Int {
        // What is wrong with the file is told by the load.
        guard let file = try? GGUFFile(path: path) else { return 0 }
        let length = context ?? min(file.contextLength ?? ServerProgram.usualContext, ServerProgram.usualContext)
        let slots = slots ?? LlamaServerEngine.Options(name: "", command: [], modelPath: "").slots
        return sum(sum(file.byteCount, program), product(product(length, slots), bytesPerToken(file)))
    }

    /// Of one token, in all layers.
    static func bytesPerToken(_ file: GGUFFile) -> Int {
        guard let name = file.architecture, let layers = number(file, "\(name).block_count"),
            let heads = number(file, "\(name).attention.head_count"),
            let width = number(file, "\(name).embedding_length")
        else { return usualBytesPerToken }
        let groups = number(file, "\(name).attention.head_count_kv") ?? heads
        let key = number(file, "\(name).attention.key_length") ?? width / heads
        let value = number(file, "\(name).attention.value_length") ?? width / heads
        return product(product(layers, groups), product(sum(key, value), 2))
    }

    /// Above 0, and not absurd.
    private static func number(_ file: GGUFFile, _ key: String) -> Int? {
        file.integer(key).flatMap { (1...1_000_000_000).contains($0) ? $0 : nil }
    }

    private static func sum(_ left: Int, _ right: Int) -> Int {
        let (sum, overflows) = left.addingReportingOverflow(right)
        return overflows ? .max : sum
    }

    private static func product(_ left: Int, _ right: Int) -> Int {
        let (product, overflows) = left.multipliedReportingOverflow(by: right)
        return overflows ? .max : product
    }
}
