import Core

/// The command line of a llama-server child.
struct ServerArguments: Sendable {
    var modelPath: String
    /// Tokens of prompt and answer of each slot.
    var contextLength: Int
    var slots: Int
    var threads: Int
    /// Nil where the model makes no embeddings; else how they are pooled, empty for the model's own way.
    var pooling: String?
    /// The flags that the program knows.
    var flags: Set<String>
    /// Those that the operator's command gives already: they stand.
    var given: Set<String>
    /// Where other hosts' workers are reached.
    var workers: [NetworkAddress] = []

    /// Without these nothing works.
    static let required = ["-m", "--host", "-c", "-np"]
    /// Without this there are no workers.
    static let workerFlag = "--rpc"
    /// Prompts that the server remembers in memory beside its slots, in MiB.
    private static let cacheMebibytes = 1_024

    func callAsFunction(socket: String) -> [String] {
        var options: [(names: [String], value: String?)] = [
            (["-c", "--ctx-size"], String(clamped(contextLength, times: slots))),
            (["-np", "--parallel"], String(slots)),
            (["-t", "--threads"], String(threads)),
            (["-tb", "--threads-batch"], String(threads)),
            // Each slot has its own share: none is cut short by what the others hold.
            (["--no-kv-unified", "-no-kvu"], nil),
            (["--cache-ram", "-cram"], String(Self.cacheMebibytes)),
            (["--no-ui", "--no-webui"], nil),
            (["--offline"], nil),
            (["--no-slots"], nil),
            (["--metrics"], nil),
            (["--jinja"], nil),
            (["--cors-origins"], "localhost"),
            (["--no-cors-credentials"], nil),
            // Silence must mean that the engine is silent.
            (["--sse-ping-interval"], "-1"),
        ]
        if let pooling {
            let batch = String(min(contextLength, 8_192))
            options += [
                (["--embeddings", "--embedding"], nil), (["-b", "--batch-size"], batch),
                (["-ub", "--ubatch-size"], batch),
            ]
            if !pooling.isEmpty { options.append((["--pooling"], pooling)) }
        }
        if !workers.isEmpty {
            options.append(([Self.workerFlag], workers.map(\.description).joined(separator: ",")))
            // Builds that fit a model into the memory that there is do so across the workers by themselves.
            if flags.isDisjoint(with: ["-fit", "--fit"]) {
                options.append((["-ngl", "--gpu-layers", "--n-gpu-layers"], "99"))
            }
        }
        var arguments = ["-m", modelPath, "--host", socket]
        if !given.isDisjoint(with: ["--kv-unified", "-kvu"]) {
            options.removeAll { $0.names.first == "--no-kv-unified" }
        }
        for option in options where given.isDisjoint(with: option.names) {
            guard let name = option.names.first(where: flags.contains) else { continue }
            arguments += [name] + (option.value.map { [$0] } ?? [])
        }
        return arguments
    }

    private func clamped(_ length: Int, times count: Int) -> Int {
        let (product, overflows) = length.multipliedReportingOverflow(by: count)
        return overflows ? length : product
    }
}
