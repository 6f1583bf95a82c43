/// What is known of a model's file, wherever the file lies.
package struct ModelFile: Hashable, Sendable {
    /// SHA-256 over the whole file, 64 hexadecimal digits; nil as long as it is not known.
    package var digest: String?
    package var bytes: Int
    /// `llama`, `phi3`, …
    package var architecture: String?
    /// How many numbers the model has.
    package var parameters: Int?
    /// How they are stored: `Q4_K_M`, …
    package var quantization: String?
    /// The longest context that the model was made for.
    package var trainedContext: Int?

    package init(
        digest: String? = nil, bytes: Int, architecture: String? = nil, parameters: Int? = nil,
        quantization: String? = nil, trainedContext: Int? = nil
    ) {
        self.digest = digest
        self.bytes = bytes
        self.architecture = architecture
        self.parameters = parameters
        self.quantization = quantization
        self.trainedContext = trainedContext
    }
}
