import Glibc

/// Runs one token at a time through a model. Holds the vectors in between; one per engine.
///
/// The order and precision of the steps follow ggml's: sums of squares in double, angles by repeated multiplication,
/// keys, values and queries rounded to half. The result depends on the tokens alone, not on how a prompt was cut into
/// pieces or which part of it was still cached.
final class ForwardPass {
    let model: LlamaModel
    /// What the model thinks of each token as the next one, after ``evaluate(_:in:wantsLogits:)`` with logits.
    let logits: UnsafeMutableBufferPointer<Float>

    private let stream: UnsafeMutablePointer<Float>
    private let normed: Activation
    private let attended: Activation
    private let gated: Activation
    private let query: UnsafeMutablePointer<Float>
    private let key: UnsafeMutablePointer<Float>
    private let up: UnsafeMutablePointer<Float>
    private let addition: UnsafeMutablePointer<Float>
    private let scores: UnsafeMutablePointer<Float>
    /// Cosine and sine of each pair's angle at the present position.
    private let turns: UnsafeMutablePointer<(cosine: Float, sine: Float)>

    init(_ model: LlamaModel) {
        let shape = model.shape
        self.model = model
        func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
            let pointer = UnsafeMutablePointer<Float>.allocate(capacity: count)
            pointer.initialize(repeating: 0, count: count)
            return pointer
        }
        logits = UnsafeMutableBufferPointer(start: floats(model.vocabulary.count), count: model.vocabulary.count)
        stream = floats(shape.width)
        normed = Activation(count: shape.width)
        attended = Activation(count: shape.width)
        gated = Activation(count: shape.hidden)
        query = floats(shape.width)
        key = floats(shape.keyValueWidth)
        up = floats(shape.hidden)
        addition = floats(shape.width)
        scores = floats(shape.contextLength)
        turns = .allocate(capacity: shape.headWidth / 2)
        turns.initialize(repeating: (1, 0), count: shape.headWidth / 2)
    }

    deinit {
        for pointer in [stream, query, key, up, addition, scores] { pointer.deallocate() }
        logits.deallocate()
        turns.deallocate()
    }

    /// Reads `token` as the next one of `cache`, which must have room in the model's context.
    func evaluate(_ token: Int, in cache: KeyValueCache, wantsLogits: Bool) {
        precondition(cache.count < model.shape.contextLength, "the scheduler ends an answer at the context's end")
        let shape = model.shape
        model.embedding.copyRow(token, to: stream)
        turn(to: cache.count)
        for (index, layer) in model.layers.enumerated() {
            normalise(layer.attentionNorm)
            layer.query.multiply(normed, into: query)
            layer.key.multiply(normed, into: key)
            let value = cache.values(of: index) + cache.count * shape.keyValueWidth
            layer.value.multiply(normed, into: value)
            rotate(query, heads: shape.heads)
            rotate(key, heads: shape.keyValueHeads)
            let cachedKey = cache.keys(of: index) + cache.count * shape.keyValueWidth
            for element in 0..<shape.keyValueWidth {
                cachedKey[element] = Float(Float16(key[element]))
                value[element] = Float(Float16(value[element]))
            }
            for element in 0..<shape.width { query[element] = Float(Float16(query[element])) }
            attend(cache.keys(of: index), cache.values(of: index), length: cache.count + 1)
            layer.attentionOutput.multiply(attended, into: addition)
            addToStream()

            normalise(layer.feedForwardNorm)
            layer.gate.multiply(normed, into: gated.floats)
            layer.up.multiply(normed, into: up)
            for element in 0..<shape.hidden {
                let gate = gated.floats[element]
                gated.floats[element] = gate / (1 + expf(-gate)) * up[element]
            }
            gated.changed()
            layer.down.multiply(gated, into: addition)
            addToStream()
        }
        cache.advance()
        if wantsLogits, let base = logits.baseAddress {
            normalise(model.outputNorm)
            model.output.multiply(normed, into: base)
        }
    }

    private func addToStream() {
        for element in 0..<model.shape.width { stream[element] += addition[element] }
    }

    /// Root-mean-square norm of the stream, into `normed`.
    private func normalise(_ weights: [Float]) {
        let width = model.shape.width
        var sum = 0.0
        for element in 0..<width { sum += Double(stream[element] * stream[element]) }
        let scale = 1 / (Float(sum / Double(width)) + model.shape.epsilon).squareRoot()
        weights.withUnsafeBufferPointer { weights in
            for element in 0..<width { normed.floats[element] = stream[element] * scale * weights[element] }
        }
        normed.changed()
    }

    private func turn(to position: Int) {
        let half = model.shape.headWidth / 2
        let ratio = powf(model.shape.ropeBase, -2 / Float(model.shape.headWidth))
        var angle = Float(position)
        for pair in 0..<half {
            turns[pair] = (cosf(angle), sinf(angle))
            angle *= ratio
        }
    }

    /// Rotary positions on pairs of neighbours (2i, 2i+1), as the llama architecture has them.
    private func rotate(_ vector: UnsafeMutablePointer<Float>, heads: Int) {
        let half = model.shape.headWidth / 2
        for head in 0..<heads {
            let pairs = vector + head * model.shape.headWidth
            for pair in 0..<half {
                let (cosine, sine) = turns[pair]
                let (first, second) = (pairs[2 * pair], pairs[2 * pair + 1])
                pairs[2 * pair] = first * cosine - second * sine
                pairs[2 * pair + 1] = first * sine + second * cosine
            }
        }
    }

    /// Causal attention of `query` over the first `length` tokens, into `attended`.
    private func attend(
        _ keys: UnsafeMutablePointer<Float>, _ values: UnsafeMutablePointer<Float>, length: Int
    ) {
        let shape = model.shape
        let headBytes = shape.headWidth * 4
        let rowBytes = shape.keyValueWidth * 4
        let scale = 1 / Float(shape.headWidth).squareRoot()
        for head in 0..<shape.heads {
            let offset = head / (shape.heads / shape.keyValueHeads) * headBytes
            let asked = UnsafeRawPointer(query + head * shape.headWidth)
            var key = UnsafeRawPointer(keys) + offset
            var largest = -Float.infinity
            for position in 0..<length {
                var sum = SIMD16<Float>.zero
                for part in stride(from: 0, to: headBytes, by: 64) {
                    sum +=
                        asked.loadUnaligned(fromByteOffset: part, as: SIMD16<Float>.self)
                        * key.loadUnaligned(fromByteOffset: part, as: SIMD16<Float>.self)
                }
                let score = sum.sum() * scale
                scores[position] = score
                largest = max(largest, score)
                key += rowBytes
            }
            var total: Float = 0
            for position in 0..<length {
                let weight = expf(scores[position] - largest)
                scores[position] = weight
                total += weight
            }
            let share = 1 / total
            let result = UnsafeMutableRawPointer(attended.floats + head * shape.headWidth)
            for part in stride(from: 0, to: headBytes, by: 64) {
                var sum = SIMD16<Float>.zero
                var value = UnsafeRawPointer(values) + offset + part
                for position in 0..<length {
                    sum += value.loadUnaligned(as: SIMD16<Float>.self) * scores[position]
                    value += rowBytes
                }
                result.storeBytes(of: sum * share, toByteOffset: part, as: SIMD16<Float>.self)
            }
        }
        attended.changed()
    }
}
