/// Bytes of the bodies of operations: fields of (number, length, content), ascending; a field with an unknown number
/// is skipped, so that a newer host may add some.
package enum TurnCodec {
    private enum Field {
        static let role: UInt8 = 1
        static let text: UInt8 = 2
        static let requestKey: UInt8 = 3
        static let finishReason: UInt8 = 4
        static let usage: UInt8 = 5
        static let model: UInt8 = 6
        static let conversation: UInt8 = 7
        static let owner: UInt8 = 8
        static let history: UInt8 = 9
        static let reasoning: UInt8 = 10
        static let toolCalls: UInt8 = 11
        static let toolCallID: UInt8 = 12
        static let annotation: UInt8 = 13
        static let metadata: UInt8 = 14
        static let cancelled: UInt8 = 15
    }

    package static func encode(_ turn: Turn) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(field: Field.role, turn.message.role.rawValue.utf8)
        writer.put(field: Field.text, turn.message.text.utf8)
        if let key = turn.requestKey { writer.put(field: Field.requestKey, key.bytes) }
        if let outcome = turn.outcome {
            writer.put(field: Field.finishReason, outcome.finishReason.rawValue.utf8)
            var usage = ByteWriter()
            for count in [outcome.usage.promptTokens, outcome.usage.completionTokens, outcome.usage.cachedTokens] {
                usage.put(varint: UInt64(clamping: count))
            }
            usage.put(outcome.usage.isExact ? 1 : 0)
            writer.put(field: Field.usage, usage.bytes)
            writer.put(field: Field.model, outcome.model.utf8)
        }
        if let history = turn.history {
            var hash = ByteWriter()
            hash.put(bigEndian: history.rawValue)
            writer.put(field: Field.history, hash.bytes)
        }
        if let reasoning = turn.message.reasoning { writer.put(field: Field.reasoning, reasoning.utf8) }
        if !turn.message.toolCalls.isEmpty { writer.put(field: Field.toolCalls, encode(turn.message.toolCalls)) }
        if let id = turn.message.toolCallID { writer.put(field: Field.toolCallID, id.utf8) }
        if let annotation = turn.annotation { writer.put(field: Field.annotation, annotation.encoded) }
        return writer.bytes
    }

    private static func encode(_ calls: [ToolCall]) -> [UInt8] {
        var writer = ByteWriter()
        for call in calls {
            for part in [call.id, call.name, call.arguments] { writer.put(lengthPrefixed: part.utf8) }
        }
        return writer.bytes
    }

    private static func decodeToolCalls(_ bytes: [UInt8]) throws(RuntimeError) -> [ToolCall] {
        var reader = ByteReader(bytes)
        var calls: [ToolCall] = []
        func text() throws(RuntimeError) -> String {
            String(decoding: try reader.lengthPrefixed(atMost: Limits.operationBodyBytes), as: UTF8.self)
        }
        while !reader.isAtEnd { calls.append(ToolCall(id: try text(), name: try text(), arguments: try text())) }
        return calls
    }

    /// Throws ``RuntimeError`` `.corrupt`.
    package static func decodeTurn(_ bytes: [UInt8]) throws(RuntimeError) -> Turn {
        let fields = try Fields(bytes)
        guard let role = Message.Role(rawValue: try fields.text(Field.role)) else {
            throw RuntimeError(.corrupt, "a turn has a role that this version does not know")
        }
        var turn = Turn(message: Message(role, try fields.text(Field.text)))
        if let key = fields[Field.requestKey] { turn.requestKey = Bytes16(key) }
        if fields[Field.finishReason] != nil, let bytes = fields[Field.usage] {
            guard let reason = FinishReason(rawValue: try fields.text(Field.finishReason)) else {
                throw RuntimeError(.corrupt, "a turn ended for a reason that this version does not know")
            }
            var reader = ByteReader(bytes)
            let usage = TokenUsage(
                promptTokens: Int(clamping: try reader.varint()),
                completionTokens: Int(clamping: try reader.varint()),
                cachedTokens: Int(clamping: try reader.varint()), isExact: try reader.byte() == 1)
            turn.outcome = Turn.Outcome(finishReason: reason, usage: usage, model: try fields.text(Field.model))
        }
        if let hash = fields[Field.history] {
            var reader = ByteReader(hash)
            turn.history = PrefixHash(rawValue: try reader.bigEndian64())
        }
        if fields[Field.reasoning] != nil { turn.message.reasoning = try fields.text(Field.reasoning) }
        if let calls = fields[Field.toolCalls] { turn.message.toolCalls = try decodeToolCalls(calls) }
        if fields[Field.toolCallID] != nil { turn.message.toolCallID = try fields.text(Field.toolCallID) }
        if let annotation = fields[Field.annotation] { turn.annotation = try? JSON.parse(annotation) }
        return turn
    }

    package static func encode(_ meta: ConversationMeta) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(field: Field.conversation, meta.id.rawValue.utf8)
        writer.put(field: Field.owner, meta.owner.name.utf8)
        if let metadata = meta.metadata { writer.put(field: Field.metadata, metadata.encoded) }
        switch meta.note {
        case .annotation(let annotation): writer.put(field: Field.annotation, annotation.encoded)
        case .cancelled: writer.put(field: Field.cancelled, [])
        case nil: break
        }
        return writer.bytes
    }

    /// Throws ``RuntimeError`` `.corrupt`.
    package static func decodeMeta(_ bytes: [UInt8]) throws(RuntimeError) -> ConversationMeta {
        let fields = try Fields(bytes)
        guard let id = ConversationID(try fields.text(Field.conversation)) else {
            throw RuntimeError(.corrupt, "a conversation has an id that cannot be one")
        }
        var meta = ConversationMeta(id: id, owner: Owner(name: try fields.text(Field.owner)))
        // Notes that cannot be read are none.
        if let metadata = fields[Field.metadata] { meta.metadata = try? JSON.parse(metadata) }
        if fields[Field.cancelled] != nil { meta.note = .cancelled }
        if let annotation = fields[Field.annotation] {
            meta.note = (try? JSON.parse(annotation)).map { .annotation($0) }
        }
        return meta
    }

    /// The fields of one body by their number.
    private struct Fields {
        private var contents: [UInt8: [UInt8]] = [:]

        init(_ bytes: [UInt8]) throws(RuntimeError) {
            var reader = ByteReader(bytes)
            while !reader.isAtEnd {
                let number = try reader.byte()
                contents[number] = try reader.lengthPrefixed(atMost: Limits.operationBodyBytes)
            }
        }

        subscript(number: UInt8) -> [UInt8]? { contents[number] }

        func text(_ number: UInt8) throws(RuntimeError) -> String {
            guard let bytes = contents[number] else {
                throw RuntimeError(.corrupt, "field \(number) is missing")
            }
            return String(decoding: bytes, as: UTF8.self)
        }
    }
}

extension ByteWriter {
    fileprivate mutating func put(field number: UInt8, _ content: some Collection<UInt8>) {
        put(number)
        put(lengthPrefixed: content)
    }
}
