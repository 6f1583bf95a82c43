/// A vector on its way into matrices, in the forms that they multiply with. Each form is made once, when first needed.
///
/// llama.cpp rounds a vector to the matrix's own precision before it multiplies. Doing the same is what makes our
/// answers equal to its answers, byte for byte; it is also what makes whole-number arithmetic possible.
final class Activation {
    static let blockElements = 32

    let count: Int
    /// The vector. After a change, call ``changed()``.
    let floats: UnsafeMutablePointer<Float>
    private let halves: UnsafeMutablePointer<Float>
    private let quants: UnsafeMutablePointer<Int16>
    private let scales: UnsafeMutablePointer<Float>
    private var hasHalves = false
    private var hasQuants = false

    init(count: Int) {
        self.count = count
        floats = .allocate(capacity: count)
        floats.initialize(repeating: 0, count: count)
        halves = .allocate(capacity: count)
        halves.initialize(repeating: 0, count: count)
        quants = .allocate(capacity: count)
        quants.initialize(repeating: 0, count: count)
        let blocks = (count + Self.blockElements - 1) / Self.blockElements
        scales = .allocate(capacity: blocks)
        scales.initialize(repeating: 0, count: blocks)
    }

    deinit {
        floats.deallocate()
        halves.deallocate()
        quants.deallocate()
        scales.deallocate()
    }

    func changed() {
        hasHalves = false
        hasQuants = false
    }

    /// Rounded to half precision.
    func roundedToHalf() -> UnsafePointer<Float> {
        if !hasHalves {
            for index in 0..<count { halves[index] = Float(Float16(floats[index])) }
            hasHalves = true
        }
        return UnsafePointer(halves)
    }

    /// As Q8_0: blocks of 32 whole numbers within ±127, and a scale for each. `count` must be a multiple of 32.
    func quantised() -> (quants: UnsafePointer<Int16>, scales: UnsafePointer<Float>) {
        if !hasQuants {
            for block in 0..<count / Self.blockElements { quantise(block) }
            hasQuants = true
        }
        return (UnsafePointer(quants), UnsafePointer(scales))
    }

    private func quantise(_ block: Int) {
        let first = block * Self.blockElements
        var largest: UInt32 = 0
        // Without their sign, floats order as their bits do.
        for index in first..<first + Self.blockElements {
            largest = max(largest, floats[index].bitPattern & 0x7FFF_FFFF)
        }
        let magnitude = Float(bitPattern: largest)
        let inverse = magnitude == 0 ? 0 : 127 / magnitude
        scales[block] = Float(Float16(magnitude / 127))
        // Adding 1.5 × 2²³ leaves the number, rounded half to even, in the low bits: no conversion that could trap on
        // the infinities that a broken model may produce.
        for index in first..<first + Self.blockElements {
            let shifted = floats[index] * inverse + 12_582_912
            quants[index] = Int16(truncatingIfNeeded: shifted.bitPattern)
        }
    }
}
