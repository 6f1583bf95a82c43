import Glibc

/// Runs tokens through a model. Holds the vectors in between; one per engine.
///
/// The order and precision of the steps follow ggml's where that matters: inputs of a matrix rounded as ``Activation``
/// says, sums of squares in double, angles by repeated multiplication. The result depends on the tokens alone, not on
/// how a prompt was cut into pieces or which part of it was still cached.
final class ForwardPass {
    /// How many tokens may be read at once.
    static let pieceTokens = 8

    let model: LlamaModel
    /// What the model thinks of each token as the next one, after ``evaluate(_:in:wantsLogits:)`` with logits.
    let logits: UnsafeMutableBufferPointer<Float>

    /// What the layers add to, for each token of the piece.
    private let streams: UnsafeMutablePointer<Float>
    private let normed: Activation
    private let attended: Activation
    private let gated: Activation
    private let query: UnsafeMutablePointer<Float>
    private let key: UnsafeMutablePointer<Float>
    private let value: UnsafeMutablePointer<Float>
    private let up: UnsafeMutablePointer<Float>
    private let addition: UnsafeMutablePointer<Float>
    /// Room for a whole context and 7 more, to fill the last group of 8.
    private let scores: UnsafeMutablePointer<Float>
    /// Cosine and sine of each pair's angle, for each token of the piece.
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
        streams = floats(shape.width * Self.pieceTokens)
        normed = Activation(count: shape.width)
        attended = Activation(count: shape.width)
        gated = Activation(count: shape.hidden)
        query = floats(shape.width)
        key = floats(shape.keyValueWidth)
        value = floats(shape.keyValueWidth)
        up = floats(shape.hidden)
        addition = floats(shape.width)
        scores = floats(shape.contextLength + 7)
        let pairs = shape.headWidth / 2 * Self.pieceTokens
        turns = .allocate(capacity: pairs)
        turns.initialize(repeating: (1, 0), count: pairs)
    }

    deinit {
        for pointer in [streams, query, key, value, up, addition, scores] { pointer.deallocate() }
        logits.deallocate()
        turns.deallocate()
    }

    /// Reads `tokens`, 1 to ``pieceTokens``, as the next ones of `cache`, which must have room in the model's context.
    /// The logits are those after the last.
    ///
    /// All tokens go through one layer before the next layer begins: its weights and its part of the cache are then
    /// still near the processor.
    func evaluate(_ tokens: ArraySlice<Int>, in cache: KeyValueCache, wantsLogits: Bool) {
        let shape = model.shape
        precondition(
            (1...Self.pieceTokens).contains(tokens.count) && cache.count + tokens.count <= shape.contextLength,
            "the scheduler cuts prompts into pieces and ends an answer at the context's end")
        for (index, token) in tokens.enumerated() {
            model.embedding.copyRow(token, to: stream(index))
            turn(index, to: cache.count + index)
        }
        for (number, layer) in model.layers.enumerated() {
            for index in 0..<tokens.count {
                attend(layer, index, cache, layer: number)
                feedForward(layer, index)
            }
        }
        cache.advance(by: tokens.count)
        if wantsLogits, let base = logits.baseAddress {
            normalise(stream(tokens.count - 1), model.outputNorm)
            model.output.multiply(normed, into: base)
        }
    }

    private func stream(_ index: Int) -> UnsafeMutablePointer<Float> { streams + index * model.shape.width }

    /// Root-mean-square norm of a stream, into `normed`.
    private func normalise(_ stream: UnsafeMutablePointer<Float>, _ weights: [Float]) {
        let width = model.shape.width
        var sum = 0.0
        for element in 0..<width { sum += Double(stream[element] * stream[element]) }
        let scale = 1 / (Float(sum / Double(width)) + model.shape.epsilon).squareRoot()
        weights.withUnsafeBufferPointer { weights in
            for element in 0..<width { normed.floats[element] = stream[element] * scale * weights[element] }
        }
        normed.changed()
    }

    private func add(_ addition: UnsafeMutablePointer<Float>, to stream: UnsafeMutablePointer<Float>) {
        for element in 0..<model.shape.width { stream[element] += addition[element] }
    }

    // MARK: Feed-forward

    private func feedForward(_ layer: LlamaModel.Layer, _ index: Int) {
        normalise(stream(index), layer.feedForwardNorm)
        layer.gate.multiply(normed, into: gated.floats)
        layer.up.multiply(normed, into: up)
        let gates = UnsafeMutableRawPointer(gated.floats)
        let ups = UnsafeRawPointer(up)
        for offset in stride(from: 0, to: model.shape.hidden * 4, by: 32) {
            let gate = gates.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
            let open = gate / (exponential(-gate) + 1)
            let up = ups.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
            gates.storeBytes(of: open * up, toByteOffset: offset, as: SIMD8<Float>.self)
        }
        gated.changed()
        layer.down.multiply(gated, into: addition)
        add(addition, to: stream(index))
    }

    // MARK: Attention

    private func attend(_ layer: LlamaModel.Layer, _ index: Int, _ cache: KeyValueCache, layer number: Int) {
        let shape = model.shape
        let position = cache.count + index
        normalise(stream(index), layer.attentionNorm)
        layer.query.multiply(normed, into: query)
        layer.key.multiply(normed, into: key)
        layer.value.multiply(normed, into: value)
        rotate(query, index, heads: shape.heads)
        rotate(key, index, heads: shape.keyValueHeads)
        for head in 0..<shape.keyValueHeads {
            let keys = cache.keys(of: number, head: head) + position * shape.headWidth
            let values = cache.values(of: number, head: head) + position * shape.headWidth
            for element in 0..<shape.headWidth {
                keys[element] = key[head * shape.headWidth + element]
                values[element] = value[head * shape.headWidth + element]
            }
        }
        let sharing = shape.heads / shape.keyValueHeads
        for head in 0..<shape.heads {
            let total = weigh(
                UnsafeRawPointer(query + head * shape.headWidth), cache.keys(of: number, head: head / sharing),
                length: position + 1)
            collect(
                cache.values(of: number, head: head / sharing), length: position + 1, share: 1 / total,
                into: UnsafeMutableRawPointer(attended.floats + head * shape.headWidth))
        }
        attended.changed()
        layer.attentionOutput.multiply(attended, into: addition)
        add(addition, to: stream(index))
    }

    private func turn(_ index: Int, to position: Int) {
        let half = model.shape.headWidth / 2
        let ratio = powf(model.shape.ropeBase, -2 / Float(model.shape.headWidth))
        var angle = Float(position)
        for pair in 0..<half {
            turns[index * half + pair] = (cosf(angle), sinf(angle))
            angle *= ratio
        }
    }

    /// Rotary positions on pairs of neighbours (2i, 2i+1), as the llama architecture has them.
    private func rotate(_ vector: UnsafeMutablePointer<Float>, _ index: Int, heads: Int) {
        let half = model.shape.headWidth / 2
        for head in 0..<heads {
            let pairs = vector + head * model.shape.headWidth
            for pair in 0..<half {
                let (cosine, sine) = turns[index * half + pair]
                let (first, second) = (pairs[2 * pair], pairs[2 * pair + 1])
                pairs[2 * pair] = first * cosine - second * sine
                pairs[2 * pair + 1] = first * sine + second * cosine
            }
        }
    }

    /// Leaves in `scores` how much each of the first `length` tokens counts for `query`; gives their sum.
    private func weigh(_ query: UnsafeRawPointer, _ keys: UnsafeMutablePointer<Float>, length: Int) -> Float {
        let headBytes = model.shape.headWidth * 4
        let scale = 1 / Float(model.shape.headWidth).squareRoot()
        var key = UnsafeRawPointer(keys)
        for position in 0..<length {
            var sum = SIMD8<Float>.zero
            var offset = 0
            while offset < headBytes {
                sum +=
                    query.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
                    * key.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
                offset &+= 32
            }
            scores[position] = sum.sum() * scale
            key += headBytes
        }
        let padded = (length + 7) / 8 * 8
        for position in length..<padded { scores[position] = -.infinity }
        let groups = UnsafeMutableRawPointer(scores)
        var largest = SIMD8<Float>(repeating: -.infinity)
        for offset in stride(from: 0, to: padded * 4, by: 32) {
            largest = pointwiseMax(largest, groups.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self))
        }
        let top = largest.max()
        var total = SIMD8<Float>.zero
        for offset in stride(from: 0, to: padded * 4, by: 32) {
            let distance = groups.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self) - top
            // What counts less than the sum's precision is nothing: multiplying with such numbers gives denormal ones,
            // which cost a processor a hundred times as much.
            let weights = exponential(distance).replacing(with: 0, where: distance .< -40)
            groups.storeBytes(of: weights, toByteOffset: offset, as: SIMD8<Float>.self)
            total += weights
        }
        return total.sum()
    }

    /// The first `length` values, each as much as its score says.
    private func collect(
        _ values: UnsafeMutablePointer<Float>, length: Int, share: Float, into result: UnsafeMutableRawPointer
    ) {
        let headBytes = model.shape.headWidth * 4
        for part in stride(from: 0, to: headBytes, by: 64) {
            var sum = SIMD16<Float>.zero
            var value = UnsafeRawPointer(values) + part
            for position in 0..<length {
                sum += value.loadUnaligned(as: SIMD16<Float>.self) * scores[position]
                value += headBytes
            }
            result.storeBytes(of: sum * share, toByteOffset: part, as: SIMD16<Float>.self)
        }
    }
}
