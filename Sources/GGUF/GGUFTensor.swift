/// One tensor: its shape, and where its data lies.
package struct GGUFTensor: Sendable {
    package let name: String
    /// The first is the length of a row; 1 to 4 of them, none is 0.
    package let dimensions: [Int]
    package let type: TensorType
    /// How many numbers it holds: the product of the dimensions.
    package let elementCount: Int
    /// Where its data lies in the file; nil for a type whose size this reader does not know.
    package let byteRange: Range<Int>?

    /// How a tensor's numbers are stored, by ggml's number for it.
    package struct TensorType: Hashable, Sendable, CustomStringConvertible {
        package let rawValue: UInt32

        package init(rawValue: UInt32) { self.rawValue = rawValue }

        package static let f32 = TensorType(rawValue: 0)
        package static let f16 = TensorType(rawValue: 1)
        package static let q8 = TensorType(rawValue: 8)

        /// ggml's name, or the number of an unknown type.
        package var description: String { layout?.name ?? "type \(rawValue)" }

        /// How many numbers a block holds and how many bytes it takes; nil for an unknown type.
        var layout: Layout? { Self.layouts[rawValue] }

        struct Layout: Sendable {
            let name: String
            let blockElements: Int
            let blockBytes: Int

            init(_ name: String, _ blockElements: Int, _ blockBytes: Int) {
                self.name = name
                self.blockElements = blockElements
                self.blockBytes = blockBytes
            }
        }

        /// From ggml.h and ggml-common.h. Numbers that ggml has withdrawn (4, 5, 31–33, 36–38) are left out.
        private static let layouts: [UInt32: Layout] = [
            0: Layout("F32", 1, 4), 1: Layout("F16", 1, 2), 2: Layout("Q4_0", 32, 18), 3: Layout("Q4_1", 32, 20),
            6: Layout("Q5_0", 32, 22), 7: Layout("Q5_1", 32, 24), 8: Layout("Q8_0", 32, 34), 9: Layout("Q8_1", 32, 36),
            10: Layout("Q2_K", 256, 84), 11: Layout("Q3_K", 256, 110), 12: Layout("Q4_K", 256, 144),
            13: Layout("Q5_K", 256, 176), 14: Layout("Q6_K", 256, 210), 15: Layout("Q8_K", 256, 292),
            16: Layout("IQ2_XXS", 256, 66), 17: Layout("IQ2_XS", 256, 74), 18: Layout("IQ3_XXS", 256, 98),
            19: Layout("IQ1_S", 256, 50), 20: Layout("IQ4_NL", 32, 18), 21: Layout("IQ3_S", 256, 110),
            22: Layout("IQ2_S", 256, 82), 23: Layout("IQ4_XS", 256, 136), 24: Layout("I8", 1, 1),
            25: Layout("I16", 1, 2), 26: Layout("I32", 1, 4), 27: Layout("I64", 1, 8), 28: Layout("F64", 1, 8),
            29: Layout("IQ1_M", 256, 56), 30: Layout("BF16", 1, 2), 34: Layout("TQ1_0", 256, 54),
            35: Layout("TQ2_0", 256, 66), 39: Layout("MXFP4", 32, 17),
        ]
    }
}
