package import Core
package import Swarm

/// What a client wants of a request that is answered in the background, beside its messages. It is kept with the
/// question, so that another host can run it.
package struct RequestOrder: Hashable, Sendable {
    package var model: String
    package var maximumTokens: Int?
    package var stop: [String] = []
    package var sampling = Sampling()
    /// What the host must be able to do: ``CapabilityMatch``.
    package var needs: [String] = []
    package var priority = Ticket.Priority.normal
    /// Nil: one host answers, and another goes on should it fail.
    package var mode: Gathering.Mode?
    /// How many hosts are to answer.
    package var count = 1
    /// Only these, by id or name; empty: any.
    package var hosts: [String] = []
    /// How many other hosts shall hold it before its client has its id.
    package var replicas = 3
    /// Milliseconds since 1970.
    package var deadline: UInt64
    /// The client's own notes.
    package var metadata: JSON?

    package init(model: String, deadline: UInt64) {
        self.model = model
        self.deadline = deadline
    }

    package static let kind = "request"

    // MARK: - As it is kept

    /// What stands beside the question.
    var annotation: JSON { ["kind": .string(Self.kind), "request": json] }

    /// Nil for an annotation of something else.
    init?(annotation: JSON?) {
        guard let annotation, annotation["kind"]?.string == Self.kind, let kept = annotation["request"],
            let model = kept["model"]?.string, let deadline = kept["deadline_ms"]?.integer
        else { return nil }
        self.init(model: model, deadline: UInt64(clamping: deadline))
        maximumTokens = kept["max_tokens"]?.integer.map { Int(clamping: $0) }
        stop = kept["stop"]?.array?.compactMap(\.string) ?? []
        sampling = Sampling(kept: kept["sampling"])
        needs = kept["required_capabilities"]?.array?.compactMap(\.string) ?? []
        priority = kept["priority"]?.string.flatMap(Ticket.Priority.init(rawValue:)) ?? .normal
        mode = kept["mode"]?.string.flatMap(Gathering.Mode.init(rawValue:))
        count = max(1, Int(clamping: kept["n"]?.integer ?? 1))
        hosts = kept["hosts"]?.array?.compactMap(\.string) ?? []
        replicas = Int(clamping: kept["replication_factor"]?.integer ?? 0)
        metadata = kept["metadata"]
    }

    private var json: JSON {
        var object = JSON.Object()
        object["model"] = .string(model)
        if let maximumTokens { object["max_tokens"] = .integer(Int64(maximumTokens)) }
        if !stop.isEmpty { object["stop"] = .array(stop.map { .string($0) }) }
        object["sampling"] = sampling.kept
        object["required_capabilities"] = .array(needs.map { .string($0) })
        object["priority"] = .string(priority.rawValue)
        if let mode { object["mode"] = .string(mode.rawValue) }
        object["n"] = .integer(Int64(count))
        if !hosts.isEmpty { object["hosts"] = .array(hosts.map { .string($0) }) }
        object["replication_factor"] = .integer(Int64(replicas))
        object["deadline_ms"] = .integer(Int64(clamping: deadline))
        if let metadata { object["metadata"] = metadata }
        return .object(object)
    }
}

extension Sampling {
    fileprivate var kept: JSON {
        var object = JSON.Object()
        object["temperature"] = temperature.map { .number($0) }
        object["top_p"] = topP.map { .number($0) }
        object["top_k"] = topK.map { .integer(Int64($0)) }
        object["min_p"] = minP.map { .number($0) }
        object["seed"] = seed.map { .integer(Int64(bitPattern: $0)) }
        object["presence_penalty"] = presencePenalty.map { .number($0) }
        object["frequency_penalty"] = frequencyPenalty.map { .number($0) }
        return .object(object)
    }

    fileprivate init(kept: JSON?) {
        self.init(
            temperature: kept?["temperature"]?.number, topP: kept?["top_p"]?.number,
            topK: kept?["top_k"]?.integer.map { Int(clamping: $0) }, minP: kept?["min_p"]?.number,
            seed: kept?["seed"]?.integer.map { UInt64(bitPattern: $0) },
            presencePenalty: kept?["presence_penalty"]?.number, frequencyPenalty: kept?["frequency_penalty"]?.number)
    }
}
