import Core
import Glibc

/// Chooses the next token of one answer. The same seed and the same logits give the same choices on every machine.
///
/// In llama.cpp's order: penalties, `top_k`, `top_p`, `min_p`, then temperature and a draw. Temperature 0 is greedy:
/// the most likely token after the penalties, of equal ones the first.
struct Sampler {
    private let choice: Sampling
    private var generator: SplitMix64
    /// How often this answer holds each token so far.
    private var counts: [Int: Int] = [:]

    /// The sampling fields that are honoured, by their names on the wire.
    static let fields = [
        "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
    ]

    /// Without a seed, `entropy` is it.
    init(_ choice: Sampling, entropy: UInt64) {
        self.choice = choice
        generator = SplitMix64(seed: choice.seed ?? entropy)
    }

    /// Goes on where the choice of `tokens` has led: with the same seed the same tokens follow.
    mutating func resume(after tokens: ArraySlice<Int>) {
        for token in tokens {
            counts[token, default: 0] += 1
            if (choice.temperature ?? 0) > 0 { _ = generator.unit() }
        }
    }

    /// Changes `logits` where penalties apply.
    mutating func next(_ logits: UnsafeMutableBufferPointer<Float>) -> Int {
        penalise(logits)
        let temperature = choice.temperature ?? 0
        let token = temperature > 0 ? draw(logits, temperature: temperature) : Self.mostLikely(logits)
        counts[token, default: 0] += 1
        return token
    }

    private func penalise(_ logits: UnsafeMutableBufferPointer<Float>) {
        let presence = Float(choice.presencePenalty ?? 0)
        let frequency = Float(choice.frequencyPenalty ?? 0)
        guard presence != 0 || frequency != 0 else { return }
        for (token, count) in counts { logits[token] -= presence + frequency * Float(count) }
    }

    private static func mostLikely(_ logits: UnsafeMutableBufferPointer<Float>) -> Int {
        var best = 0
        for token in 1..<logits.count where logits[token] > logits[best] { best = token }
        return best
    }

    private mutating func draw(_ logits: UnsafeMutableBufferPointer<Float>, temperature: Double) -> Int {
        var candidates = logits.enumerated().map { (token: $0.offset, logit: Double($0.element)) }
        // The token's number breaks ties, so that the order is the same everywhere.
        candidates.sort { ($0.logit, $1.token) > ($1.logit, $0.token) }
        let best = candidates[0]
        // A broken model may give infinities; there is then nothing to weigh.
        guard best.logit.isFinite else { return Self.mostLikely(logits) }
        if let limit = choice.topK, limit > 0 { candidates.removeLast(max(0, candidates.count - limit)) }
        keepNucleus(of: &candidates, best: best.logit)
        let weights = candidates.map { exp(($0.logit - best.logit) / temperature) }
        var mark = generator.unit() * weights.reduce(0, +)
        for (candidate, weight) in zip(candidates, weights) {
            mark -= weight
            if mark < 0 { return candidate.token }
        }
        return best.token
    }

    /// `top_p`: the fewest candidates whose probabilities reach it. `min_p`: those at least that fraction of the best.
    private func keepNucleus(of candidates: inout [(token: Int, logit: Double)], best: Double) {
        let weights = candidates.map { exp($0.logit - best) }
        var kept = candidates.count
        if let share = choice.topP, share < 1 {
            let enough = share * weights.reduce(0, +)
            var sum = 0.0
            for (index, weight) in weights.enumerated() {
                sum += weight
                if sum >= enough {
                    kept = index + 1
                    break
                }
            }
        }
        if let floor = choice.minP, floor > 0 {
            kept = min(kept, weights.firstIndex { $0 < floor } ?? kept)
        }
        candidates.removeLast(candidates.count - max(1, kept))
    }
}

/// Steele, Lea and Flood's SplitMix64 (OOPSLA 2014): small, and good enough to draw tokens.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// 0 ≤ number < 1, of 53 bits.
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
