import Core
import Node

/// `POST /v1/embeddings`.
struct EmbeddingsEndpoint: Sendable {
    let flow: AnswerFlow

    func reply(to exchange: Exchange, _ body: [UInt8]) async throws -> Reply {
        let json = try JSON.parse(body)
        guard json.object != nil else {
            throw RuntimeError(.invalidRequest, "the body must be a JSON object with \"model\" and \"input\"")
        }
        let fields = RequestFields(json: json)
        let model = try fields.model()
        let texts = try Self.texts(fields)
        let isBase64: Bool
        switch try fields.text("encoding_format") {
        case nil, "float": isBase64 = false
        case "base64": isBase64 = true
        default: throw fields.refusal("encoding_format", "must be float or base64")
        }
        let dimensions = try fields.integer("dimensions", in: 1...Int64(Int32.max))
        let embeddings = try await exchange.client.whilePresent {
            try await flow.prepare(model)
            return try await flow.node.embed(texts, model: model)
        }
        if let dimensions, embeddings.vectors.contains(where: { $0.count != Int(dimensions) }) {
            throw fields.refusal(
                "dimensions", "must be what the model has, \(embeddings.vectors.first?.count ?? 0): it cannot be cut")
        }
        let data = embeddings.vectors.enumerated().map { index, vector -> JSON in
            [
                "object": "embedding", "index": .integer(Int64(index)),
                "embedding": isBase64
                    ? .string(Self.base64(vector)) : .array(vector.map { .number(Double($0)) }),
            ]
        }
        return Reply([
            "object": "list", "data": .array(data), "model": .string(model),
            "usage": [
                "prompt_tokens": .integer(Int64(embeddings.promptTokens)),
                "total_tokens": .integer(Int64(embeddings.promptTokens)),
            ],
        ])
    }

    private static func texts(_ fields: RequestFields) throws(RuntimeError) -> [String] {
        guard let value = fields.json["input"] else { throw fields.refusal("input", "is required") }
        let texts = value.string.map { [$0] } ?? value.array?.compactMap(\.string) ?? []
        guard !texts.isEmpty, value.array.map({ $0.count == texts.count }) ?? true,
            texts.count <= Limits.embeddingInputs, texts.allSatisfy({ !$0.isEmpty })
        else {
            throw fields.refusal(
                "input", "must be a string or 1 to \(Limits.embeddingInputs) strings, none of them empty")
        }
        return texts
    }

    /// Little-endian floats (RFC 4648).
    static func base64(_ vector: [Float]) -> String {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(vector.count * 4)
        for value in vector { withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) } }
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for index in 0..<4 {
                text.append(index <= group.count ? letters[bits >> (18 - 6 * index) & 63] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
