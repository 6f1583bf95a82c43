import Core

/// One answer to be written.
struct GenerationOrder {
    var id: String
    /// What is read before the first token is chosen: the prompt, and the answer's beginning.
    var prompt: [Int]
    /// How many tokens of the answer there are already, at the end of `prompt`; they count as written.
    var written = 0
    var maximumTokens: Int
    var stop: [String]
    var sampling: Sampling

    var promptTokens: Int { prompt.count - written }
}

/// A place for one answer at a time, with the keys and values of what it last read.
final class Slot {
    let cache: KeyValueCache
    /// The tokens that the cache holds.
    private(set) var tokens: [Int] = []
    var work: Work?
    /// The higher, the later it was used; 0 is never.
    var lastUsed = 0

    /// How far an answer has come.
    struct Work {
        let order: GenerationOrder
        /// Tokens of the prompt that were there already.
        let cached: Int
        var sampler: Sampler
        var text: AnswerText
        /// Tokens chosen so far, the one that ended the answer included.
        var generated = 0
        /// Chosen, but not read yet.
        var next: Int?
        /// When the next token may be chosen; nil while the prompt is read.
        var due: Duration?
    }

    init(_ shape: LlamaShape) throws(RuntimeError) { cache = try KeyValueCache(shape) }

    /// How many tokens at the start of `prompt` need not be read again. At least one is read, for its logits.
    func commonPrefix(with prompt: [Int]) -> Int {
        var length = 0
        while length < tokens.count, length < prompt.count - 1, tokens[length] == prompt[length] { length += 1 }
        return length
    }

    func truncate(to length: Int) {
        tokens.removeLast(max(0, tokens.count - length))
        cache.truncate(to: length)
    }

    func copy(_ length: Int, of other: Slot) {
        cache.copy(length, of: other.cache)
        tokens = Array(other.tokens.prefix(length))
    }

    func read(_ piece: ArraySlice<Int>, by pass: ForwardPass, wantsLogits: Bool) {
        pass.evaluate(piece, in: cache, wantsLogits: wantsLogits)
        tokens.append(contentsOf: piece)
    }

    func release() {
        tokens = []
        cache.release()
    }
}
