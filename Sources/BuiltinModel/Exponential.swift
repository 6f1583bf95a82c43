/// e to the power of each number, to about one unit in the last place (the polynomial of Cephes' expf). Below -87 the
/// result stays at the smallest normal number, above 88 at the largest power: nothing overflows, nothing traps.
@inline(__always)
func exponential(_ power: SIMD8<Float>) -> SIMD8<Float> {
    let bounded = power.clamped(
        lowerBound: SIMD8(repeating: -87.33), upperBound: SIMD8(repeating: 88))
    // 1.5 × 2²³ leaves the number of halvings, rounded, in the low bits.
    let shifted = bounded * 1.442_695_04 + 12_582_912
    let whole = shifted - 12_582_912
    let rest = bounded - whole * 0.693_359_375 + whole * 2.121_944_4e-4
    var sum = rest * 1.987_569_15e-4 + 1.398_199_95e-3
    sum = sum * rest + 8.333_451_9e-3
    sum = sum * rest + 4.166_579_6e-2
    sum = sum * rest + 1.666_666_55e-1
    sum = sum * rest + 5.000_000_1e-1
    sum = sum * rest * rest + rest + 1
    let exponent = unsafeBitCast(shifted, to: SIMD8<Int32>.self) &<< 23 &+ 0x3F80_0000
    return sum * unsafeBitCast(exponent, to: SIMD8<Float>.self)
}
