import Core
import GGUF

/// Headers of model files, of whatever origin.
enum GGUFTarget {
    static func run(_ bytes: [UInt8]) throws(Broken) {
        guard let file = try? GGUFFile(bytes: bytes) else { return }
        _ = file.modelFile
        _ = file.contextLength
        for (key, value) in file.metadata {
            _ = (file.string(key), file.integer(key), file.float(key), file.bool(key))
            if case .array(let array) = value {
                try hold(array.values.count == array.count, "an array of \(array.count) has other elements")
                _ = (array.strings, array.integers, array.floats)
            }
        }
        for tensor in file.tensors {
            try hold(tensor.dimensions.allSatisfy { $0 > 0 } && tensor.elementCount > 0, "a tensor without elements")
            guard let range = tensor.byteRange else { continue }
            try hold(range.lowerBound >= 0 && range.upperBound <= bytes.count, "a tensor lies outside the file")
        }
    }
}
