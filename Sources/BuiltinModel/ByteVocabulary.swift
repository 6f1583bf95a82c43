import Core
import GGUF

/// A vocabulary in which each byte is one token and the rest are control tokens: text becomes tokens by looking up its
/// bytes, so that no text can ever become a control token, and every prompt's size is known from its length.
struct ByteVocabulary: Sendable {
    /// The token of each byte.
    private let tokenOfByte: [Int]
    /// The byte of each token; nil for control and unused tokens.
    private let byteOfToken: [UInt8?]
    /// Tokens that end an answer.
    private let endings: Set<Int>
    private let end: Int
    private let roles: [Message.Role: Int]
    /// Words that are one token in a raw prompt, the longest first.
    private let controls: [(word: [UInt8], token: Int)]

    /// What a prompt costs (``prompt(_:)``): exact, because a byte is a token.
    static let tokenCost = TokenCost(perByte: 1, perMessage: 4, fixed: 2, isExact: true)

    /// Token types of the format: ordinary text, control words, and numbers nobody uses.
    private enum TokenType {
        static let normal = 1
        static let control = 3
        static let unused = 5
    }

    var count: Int { byteOfToken.count }

    init(_ file: GGUFFile) throws(RuntimeError) {
        guard file.string("tokenizer.ggml.model") == "gpt2", let count = file.count("tokenizer.ggml.tokens"),
            (257...4096).contains(count), let texts = file.strings("tokenizer.ggml.tokens"),
            let types = file.integers("tokenizer.ggml.token_type"), types.count == count
        else { throw .notForBuiltin("its vocabulary is not one of bytes") }
        var tokenOfByte = [Int?](repeating: nil, count: 256)
        var byteOfToken = [UInt8?](repeating: nil, count: count)
        var controls: [String: Int] = [:]
        for (token, (text, type)) in zip(texts, types).enumerated() {
            switch type {
            case TokenType.normal:
                guard let byte = Self.byte(of: text) else { throw .notForBuiltin("its vocabulary is not one of bytes") }
                byteOfToken[token] = byte
                tokenOfByte[Int(byte)] = token
            case TokenType.control: controls[text] = token
            case TokenType.unused: break
            default: throw .notForBuiltin("its vocabulary has tokens of type \(type)")
            }
        }
        self.tokenOfByte = tokenOfByte.compactMap { $0 }
        guard self.tokenOfByte.count == 256 else { throw .notForBuiltin("its vocabulary lacks some bytes") }
        self.byteOfToken = byteOfToken
        try Self.refuseMerges(file.strings("tokenizer.ggml.merges") ?? [], into: Set(texts))

        var roles: [Message.Role: Int] = [:]
        for role in Self.taught { roles[role] = controls["<|\(role.rawValue)|>"] }
        guard let end = controls["<|end|>"], roles.count == Self.taught.count else {
            throw .notForBuiltin("it lacks the turn words <|system|>, <|user|>, <|assistant|>, <|end|>")
        }
        self.end = end
        self.roles = roles
        self.controls = controls.map { (Array($0.key.utf8), $0.value) }.filter { !$0.word.isEmpty }
            .sorted { ($0.word.count, $0.token) > ($1.word.count, $1.token) }
        let named = ["eos", "eot", "eom"].compactMap { file.integer("tokenizer.ggml.\($0)_token_id") }
        endings = Set(named + [end] + ["<|endoftext|>"].compactMap { controls[$0] })
    }

    /// The roles that its turns may have. It was taught no tools: what one gave back is a user's turn.
    private static let taught = [Message.Role.system, .user, .assistant]

    /// Turns as phi-3 was taught them: `<|role|>\ntext<|end|>\n`, and at last `<|assistant|>\n`.
    func prompt(_ messages: [Message]) -> [Int] {
        var tokens: [Int] = []
        tokens.reserveCapacity(Self.tokenCost.tokens(of: messages))
        for message in messages {
            append(message.role, to: &tokens)
            tokens.append(contentsOf: message.text.utf8.lazy.map { tokenOfByte[Int($0)] })
            tokens.append(end)
            tokens.append(newline)
        }
        append(.assistant, to: &tokens)
        return tokens
    }

    /// A text as it stands, its control words included.
    func prompt(_ raw: String) -> [Int] {
        var tokens: [Int] = []
        var rest = Array(raw.utf8)[...]
        tokens.reserveCapacity(rest.count)
        while let byte = rest.first {
            let control = byte == UInt8(ascii: "<") ? controls.first { rest.starts(with: $0.word) } : nil
            tokens.append(control?.token ?? tokenOfByte[Int(byte)])
            rest = rest.dropFirst(control?.word.count ?? 1)
        }
        return tokens
    }

    /// The tokens of an answer's text.
    func tokens(of text: String) -> [Int] { text.utf8.map { tokenOfByte[Int($0)] } }

    /// The byte that a token stands for; nil for one without text.
    func byte(of token: Int) -> UInt8? { byteOfToken.indices.contains(token) ? byteOfToken[token] : nil }

    func ends(_ token: Int) -> Bool { endings.contains(token) }

    private var newline: Int { tokenOfByte[Int(UInt8(ascii: "\n"))] }

    private func append(_ role: Message.Role, to tokens: inout [Int]) {
        // `init` made sure that every role has its token.
        if let token = roles[role] ?? roles[.user] { tokens.append(token) }
        tokens.append(newline)
    }

    /// A merge whose result is a token would make tokens of several bytes.
    private static func refuseMerges(_ merges: [String], into texts: Set<String>) throws(RuntimeError) {
        for merge in merges {
            let parts = merge.split(separator: " ", maxSplits: 1)
            if parts.count == 2, texts.contains(String(parts[0] + parts[1])) {
                throw .notForBuiltin("its vocabulary merges bytes into longer tokens")
            }
        }
    }

    /// GPT-2's alphabet: printable bytes are their own letter, the other 68 follow from U+0100 on.
    private static func byte(of text: String) -> UInt8? {
        guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else { return nil }
        return letters[scalar]
    }

    private static let letters: [Unicode.Scalar: UInt8] = {
        var letters: [Unicode.Scalar: UInt8] = [:]
        var others: UInt16 = 256
        for byte in UInt8.min...UInt8.max {
            switch byte {
            case 33...126, 161...172, 174...255: letters[Unicode.Scalar(byte)] = byte
            default:
                if let letter = Unicode.Scalar(others) { letters[letter] = byte }
                others += 1
            }
        }
        return letters
    }()
}
