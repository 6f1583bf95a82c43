package import Core

extension GGUFFile {
    /// What the header tells of the model; no digest.
    package var modelFile: ModelFile {
        var parameters = 0
        for tensor in tensors {
            // Their sizes are checked one by one, and their sum is for display.
            let (sum, overflows) = parameters.addingReportingOverflow(tensor.elementCount)
            parameters = overflows ? Int.max : sum
        }
        return ModelFile(
            bytes: byteCount, architecture: architecture, parameters: parameters == 0 ? nil : parameters,
            quantization: integer("general.file_type").flatMap { Self.fileTypes[$0] } ?? usualType,
            trainedContext: contextLength)
    }

    /// The type of most of the numbers, for files that do not name theirs.
    private var usualType: String? {
        var counts: [GGUFTensor.TensorType: Double] = [:]
        for tensor in tensors { counts[tensor.type, default: 0] += Double(tensor.elementCount) }
        return counts.max { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }?.key.description
    }

    /// `llama_ftype` of llama.h.
    private static let fileTypes: [Int: String] = [
        0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
        12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
        20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
        28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    ]
}
