import Core
import GGUF

/// What the header of a model file tells a driver whose program tells nothing.
struct ModelFacts: Sendable {
    var fileName: String
    var weightBytes: Int
    var contextLength: Int?
    /// The text of the file's own chat template.
    var templateText: String?
    /// Words that its tokenizer reads as control tokens.
    var controlTokens: [String]
    /// Each byte is a token: prompts can be counted without the tokenizer.
    var isByteLevel: Bool
    /// The tokenizer puts a token before each prompt.
    var addsBeginning: Bool
    /// The file says how embeddings are made of its output.
    var hasPooling: Bool

    private enum TokenType {
        static let control = 3
    }

    /// Reads the header; a short blocking read, once a start.
    ///
    /// - Throws: ``RuntimeError`` `.configuration`, `.corrupt` or `.system`, as ``GGUFFile`` does.
    init(path: String) throws(RuntimeError) {
        let file = try GGUFFile(path: path)
        fileName = ChildCommand.baseName(path)
        weightBytes = file.byteCount
        contextLength = file.contextLength
        templateText = file.string("tokenizer.chat_template")
        addsBeginning = file.bool("tokenizer.ggml.add_bos_token") ?? false
        hasPooling = file.architecture.flatMap { file.integer("\($0).pooling_type") } ?? 0 != 0
        let tokens = file.strings("tokenizer.ggml.tokens") ?? []
        let types = file.integers("tokenizer.ggml.token_type") ?? []
        controlTokens = zip(tokens, types).filter { $0.1 == TokenType.control }.map(\.0)
        // 256 letters, the control tokens, and no real merge.
        isByteLevel =
            file.string("tokenizer.ggml.model") == "gpt2" && tokens.count - controlTokens.count <= 257
            && file.count("tokenizer.ggml.merges") ?? 0 <= 1
    }

    /// What a prompt costs: exact for a byte-level vocabulary, else an estimate on the safe side (English text has
    /// about four bytes a token, other scripts and code about three).
    func tokenCost(of template: ChatTemplate) -> TokenCost {
        guard isByteLevel else { return TokenCost(perByte: 0.4, perMessage: 8, fixed: 8, isExact: false) }
        let turns = [template.system, template.user, template.assistant].compactMap(\.self)
        let perMessage = turns.map { tokens(in: $0.opening + $0.closing) }
        return TokenCost(
            perByte: 1, perMessage: perMessage.max() ?? 0,
            fixed: tokens(in: template.answer) + (addsBeginning ? 1 : 0), isExact: Set(perMessage).count == 1)
    }

    /// Of a byte-level vocabulary: control tokens count one, other bytes one each.
    func tokens(in text: String) -> Int {
        let words = controlTokens.map { Array($0.utf8) }.filter { !$0.isEmpty }.sorted { $0.count > $1.count }
        let beginnings = Set(words.compactMap(\.first))
        var rest = Array(text.utf8)[...]
        var count = 0
        while let byte = rest.first {
            let word = beginnings.contains(byte) ? words.first(where: rest.starts(with:)) : nil
            rest = rest.dropFirst(word?.count ?? 1)
            count += 1
        }
        return count
    }
}
