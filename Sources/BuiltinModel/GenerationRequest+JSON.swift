import Core

extension GenerationRequest {
    /// Reads a `generate` line. Fields that it does not know are ignored, those that it knows must be right.
    ///
    /// - Throws: ``RuntimeError`` `.invalidRequest` with the field's name.
    init(_ order: JSON) throws(RuntimeError) {
        self.init(
            messages: order["prompt"] == nil ? try Self.messages(order["messages"]) : [],
            maximumTokens: try Self.integer("max_tokens", of: order, 1...Int64.max).map { Int($0) } ?? Int.max,
            stop: try Self.stop(order["stop"]),
            sampling: Sampling(
                temperature: try Self.number("temperature", of: order, 0...2),
                topP: try Self.number("top_p", of: order, 0...1),
                topK: try Self.integer("top_k", of: order, 0...Int64.max).map { Int($0) },
                minP: try Self.number("min_p", of: order, 0...1),
                seed: try Self.seed(order["seed"]),
                presencePenalty: try Self.number("presence_penalty", of: order, -2...2),
                frequencyPenalty: try Self.number("frequency_penalty", of: order, -2...2)))
        if let value = order["partial"] {
            guard let text = value.string else { throw Self.wrong("partial", "is not a string") }
            partial = text
        }
        guard let prompt = order["prompt"] else { return }
        guard let text = prompt.string, !text.isEmpty else { throw Self.wrong("prompt", "is not a text") }
        rawPrompt = text
    }

    private static func messages(_ value: JSON?) throws(RuntimeError) -> [Message] {
        guard let values = value?.array, !values.isEmpty else {
            throw wrong("messages", "is not a list of at least one message")
        }
        var messages: [Message] = []
        for value in values {
            guard let role = value["role"]?.string.flatMap(Message.Role.init(rawValue:)) else {
                throw wrong("messages", "has a message whose role is not system, user or assistant")
            }
            guard let text = value["content"]?.string else {
                throw wrong("messages", "has a message whose content is not a string")
            }
            messages.append(Message(role, text))
        }
        return messages
    }

    private static func stop(_ value: JSON?) throws(RuntimeError) -> [String] {
        guard let value else { return [] }
        let stops = value.array?.compactMap(\.string) ?? []
        guard let count = value.array?.count, stops.count == count, count <= Limits.stopStrings,
            stops.allSatisfy({ !$0.isEmpty && $0.utf8.count <= Limits.stopStringBytes })
        else {
            throw wrong(
                "stop", "is not a list of up to \(Limits.stopStrings) strings of 1 to \(Limits.stopStringBytes) bytes")
        }
        return stops
    }

    /// Any whole number of 64 bits, with or without sign.
    private static func seed(_ value: JSON?) throws(RuntimeError) -> UInt64? {
        guard let value else { return nil }
        if let seed = value.integer { return UInt64(bitPattern: seed) }
        guard let seed = value.number.flatMap({ UInt64(exactly: $0) }) else {
            throw wrong("seed", "is not a whole number of 64 bits")
        }
        return seed
    }

    private static func number(
        _ name: String, of order: JSON, _ range: ClosedRange<Double>
    ) throws(RuntimeError) -> Double? {
        guard let value = order[name] else { return nil }
        guard let number = value.number, range.contains(number) else {
            throw wrong(name, "is not a number within \(range.lowerBound)…\(range.upperBound)")
        }
        return number
    }

    private static func integer(
        _ name: String, of order: JSON, _ range: ClosedRange<Int64>
    ) throws(RuntimeError) -> Int64? {
        guard let value = order[name] else { return nil }
        guard let number = value.integer, range.contains(number) else {
            throw wrong(name, "is not a whole number of at least \(range.lowerBound)")
        }
        return number
    }

    private static func wrong(_ parameter: String, _ what: String) -> RuntimeError {
        RuntimeError(.invalidRequest, "\(parameter) \(what)", parameter: parameter)
    }
}
