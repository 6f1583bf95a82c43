import Core
import Testing

@testable import BuiltinModel

@Suite("Choosing a token")
struct SamplerTests {
    private func choose(
        _ logits: [Float], _ sampling: Sampling, times: Int = 1, entropy: UInt64 = 0
    ) -> [Int] {
        var sampler = Sampler(sampling, entropy: entropy)
        return (0..<times).map { _ in
            var copy = logits
            return copy.withUnsafeMutableBufferPointer { sampler.next($0) }
        }
    }

    private let logits: [Float] = [0.5, 2, 1.9, -3, 2, 0]

    @Test("Temperature 0, or none at all, takes the most likely, of equal ones the first")
    func greedy() {
        #expect(choose(logits, Sampling()) == [1])
        #expect(choose(logits, Sampling(temperature: 0, topP: 0.1, seed: 5)) == [1])
    }

    @Test("top_k of 1 is greedy at any temperature and seed", arguments: 1...20 as ClosedRange<UInt64>)
    func topOne(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let logits = (0..<50).map { _ in Float(Int.random(in: -5...5, using: &random)) }
        let greedy = choose(logits, Sampling(temperature: 0))
        #expect(choose(logits, Sampling(temperature: 2, topK: 1, seed: seed)) == greedy)
        #expect(choose(logits, Sampling(temperature: 2, topP: 0, seed: seed)) == greedy)
        #expect(choose(logits, Sampling(temperature: 2, minP: 1, seed: seed)).allSatisfy { logits[$0] == logits.max() })
    }

    @Test("A seed decides; another seed decides otherwise; without one, entropy does")
    func seeds() {
        let flat = [Float](repeating: 0, count: 100)
        let first = choose(flat, Sampling(temperature: 1, seed: 1), times: 20)
        #expect(choose(flat, Sampling(temperature: 1, seed: 1), times: 20, entropy: 9) == first)
        #expect(choose(flat, Sampling(temperature: 1, seed: 2), times: 20) != first)
        #expect(choose(flat, Sampling(temperature: 1), times: 20, entropy: 1) == first)
        #expect(Set(first).count > 10)
    }

    @Test("top_k, top_p and min_p leave out what they should")
    func filters() {
        func kept(_ sampling: Sampling) -> Set<Int> { Set(choose(logits, sampling, times: 400)) }
        #expect(kept(Sampling(temperature: 2, seed: 3)).isSuperset(of: [0, 1, 2, 4, 5]))
        #expect(kept(Sampling(temperature: 2, topK: 3, seed: 3)) == [1, 2, 4])
        // Probabilities: 0.29 twice, 0.26, 0.065, 0.04, 0.002
        #expect(kept(Sampling(temperature: 2, topP: 0.5, seed: 3)) == [1, 4])
        #expect(kept(Sampling(temperature: 2, minP: 0.5, seed: 3)) == [1, 2, 4])
    }

    @Test("Shares follow the probabilities")
    func shares() {
        let drawn = choose([0, Float(1.0986123)], Sampling(temperature: 1, seed: 11), times: 4_000)
        let share = Double(drawn.reduce(0, +)) / 4_000
        #expect(abs(share - 0.75) < 0.03)
    }

    @Test("Penalties weigh on what the answer already holds")
    func penalties() {
        #expect(choose([1, 0.5, 0], Sampling(frequencyPenalty: 0.4), times: 5) == [0, 0, 1, 0, 1])
        #expect(choose([1, 0.5, 0], Sampling(presencePenalty: 0.7), times: 4) == [0, 1, 0, 0])
    }

    @Test("Logits that are no numbers give a token all the same", arguments: [Float.nan, .infinity, -.infinity])
    func broken(value: Float) {
        for temperature in [0.0, 1.0] {
            let token = choose([value, value, value], Sampling(temperature: temperature, seed: 1))[0]
            #expect((0..<3).contains(token))
        }
    }
}
