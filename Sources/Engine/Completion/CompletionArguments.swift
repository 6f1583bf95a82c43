import Core

/// The command line of one run of `llama-completion`.
struct CompletionArguments: Sendable {
    var modelPath: String
    var contextLength: Int
    var threads: Int
    var defaults: SamplingDefaults
    /// The flags that the program knows.
    var flags: Set<String>

    /// Without these the protocol cannot work.
    static let required = ["-m", "-f", "-n", "-c", "-i", "--in-prefix", "--no-display-prompt", "--simple-io", "--temp"]

    func callAsFunction(_ request: GenerationRequest, promptPath: String, marker: String) -> [String] {
        let sampling = request.sampling
        // 32 bits of seed; the last value means "any".
        let seed = sampling.seed.map { UInt32(truncatingIfNeeded: $0 ^ ($0 >> 32)) }
        let options: [(flag: String, value: String?)] = [
            ("-m", modelPath),
            ("-c", String(contextLength)),
            ("-f", promptPath),
            ("-n", String(min(request.maximumTokens, contextLength))),
            ("-i", nil),
            ("--in-prefix", marker),
            ("-no-cnv", nil),
            ("--no-display-prompt", nil),
            ("--simple-io", nil),
            // Else `\n` in a user's text would become a newline.
            ("--no-escape", nil),
            ("--no-context-shift", nil),
            ("--offline", nil),
            ("--no-warmup", nil),
            ("-t", String(threads)),
            ("-tb", String(threads)),
            ("--temp", decimal(sampling.temperature ?? defaults.temperature)),
            ("--top-k", String(sampling.topK ?? defaults.topK)),
            ("--top-p", decimal(sampling.topP ?? defaults.topP)),
            ("--min-p", decimal(sampling.minP ?? defaults.minP)),
            ("--presence-penalty", decimal(sampling.presencePenalty ?? 0)),
            ("--frequency-penalty", decimal(sampling.frequencyPenalty ?? 0)),
            ("--repeat-penalty", "1"),
        ]
        var arguments = options.filter { flags.contains($0.flag) }.flatMap { [$0.flag] + ($0.value.map { [$0] } ?? []) }
        if let seed, flags.contains("--seed") {
            arguments += ["--seed", String(seed == UInt32.max ? 0 : seed)]
        }
        return arguments
    }

    /// The request fields that the program honours.
    var samplingFields: Set<String> {
        let fields = [
            "--temp": "temperature", "--top-p": "top_p", "--top-k": "top_k", "--min-p": "min_p", "--seed": "seed",
            "--presence-penalty": "presence_penalty", "--frequency-penalty": "frequency_penalty",
        ]
        return Set(fields.filter { flags.contains($0.key) }.map(\.value))
    }

    /// Up to four decimals, never an exponent.
    private func decimal(_ value: Double) -> String {
        let scaled = Int64((value * 10_000).rounded())
        let fraction = String(10_000 + scaled.magnitude % 10_000).dropFirst()
        return "\(scaled < 0 ? "-" : "")\(scaled.magnitude / 10_000).\(fraction)"
    }
}

/// What is chosen where a request says nothing; always passed, for the program has defaults of its own.
struct SamplingDefaults: Hashable, Sendable {
    var temperature: Double
    var topK: Int
    var topP: Double
    var minP: Double

    /// For models that are exact by nature, like our own recall model: as its built-in runner does.
    static let greedy = SamplingDefaults(temperature: 0, topK: 0, topP: 1, minP: 0)
    /// For chat models: llama.cpp's own.
    static let chat = SamplingDefaults(temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05)
}
