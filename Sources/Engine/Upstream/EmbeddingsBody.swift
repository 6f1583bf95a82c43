import Core

/// `/v1/embeddings` of the OpenAI API, as an upstream takes and gives it.
enum EmbeddingsBody {
    static func json(_ texts: [String], model: String) -> JSON {
        ["model": .string(model), "input": .array(texts.map { .string($0) }), "encoding_format": "float"]
    }

    /// - Throws: ``RuntimeError`` `.engineFailed` when it is not one vector for each text.
    static func read(_ body: [UInt8], count: Int, subject: String) throws(RuntimeError) -> Embeddings {
        let json = try? JSON.parse(body)
        var vectors = [[Float]?](repeating: nil, count: count)
        for (place, item) in (json?["data"]?.array ?? []).enumerated() {
            let index = item["index"]?.integer.flatMap { Int(exactly: $0) } ?? place
            let numbers = item["embedding"]?.array?.compactMap(\.number) ?? []
            guard vectors.indices.contains(index), !numbers.isEmpty else { continue }
            vectors[index] = numbers.map { Float($0) }
        }
        let complete = vectors.compactMap(\.self)
        guard complete.count == count else {
            throw RuntimeError(.engineFailed, "\(subject) did not give one vector for each text")
        }
        return Embeddings(vectors: complete, promptTokens: ChatStream.count(json?["usage"]?["prompt_tokens"]))
    }
}
