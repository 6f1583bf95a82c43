import Core
import HTTPTypes

/// Fields that several of OpenAI's endpoints share.
extension RequestFields {
    private static let modelNameBytes = 512
    private static let userBytes = 512
    private static let metadata = (pairs: 16, keyBytes: 64, valueBytes: 512)
    private static let toolNameBytes = 128
    private static let callIDBytes = 256

    func model() throws(RuntimeError) -> String {
        guard let model = try text("model"), !model.isEmpty, model.utf8.count <= Self.modelNameBytes else {
            throw refusal("model", "is required: the name of one of GET /v1/models")
        }
        return model
    }

    func sampling() throws(RuntimeError) -> Sampling {
        var sampling = Sampling()
        sampling.temperature = try number("temperature", in: 0...2)
        sampling.topP = try number("top_p", in: 0...1)
        sampling.topK = try integer("top_k", in: 0...Int64(Int32.max)).map { Int($0) }
        sampling.minP = try number("min_p", in: 0...1)
        sampling.seed = try integer("seed", in: Int64.min...Int64.max).map { UInt64(bitPattern: $0) }
        sampling.presencePenalty = try number("presence_penalty", in: -2...2)
        sampling.frequencyPenalty = try number("frequency_penalty", in: -2...2)
        for (token, bias) in try object("logit_bias")?.members ?? [] {
            // No vocabulary is larger, and another host reads no larger number.
            guard let token = Int(token), (0...Int(Int32.max)).contains(token), let bias = bias.number,
                (-100...100).contains(bias)
            else {
                throw refusal("logit_bias", "must map numbers of tokens to numbers from -100 to 100")
            }
            sampling.logitBias[token] = bias
        }
        return sampling
    }

    func stop() throws(RuntimeError) -> [String] {
        guard let value = json["stop"] else { return [] }
        let strings = value.string.map { [$0] } ?? value.array?.compactMap(\.string) ?? []
        let isComplete = value.array.map { $0.count == strings.count } ?? (value.string != nil)
        guard isComplete, strings.count <= Limits.stopStrings,
            strings.allSatisfy({ !$0.isEmpty && $0.utf8.count <= Limits.stopStringBytes })
        else {
            throw refusal(
                "stop",
                "must be a string or at most \(Limits.stopStrings) strings of 1 to \(Limits.stopStringBytes) bytes")
        }
        return strings
    }

    func user() throws(RuntimeError) -> String? {
        guard let user = try text("user"), !user.isEmpty else { return nil }
        guard user.utf8.count <= Self.userBytes else {
            throw refusal("user", "is longer than \(Self.userBytes) bytes")
        }
        return user
    }

    func metadata() throws(RuntimeError) -> JSON.Object? {
        guard let object = try object("metadata") else { return nil }
        let isSound = object.members.allSatisfy { member in
            guard let text = member.value.string else { return false }
            return member.key.utf8.count <= Self.metadata.keyBytes && text.utf8.count <= Self.metadata.valueBytes
        }
        guard isSound, object.members.count <= Self.metadata.pairs else {
            throw refusal(
                "metadata",
                "must hold at most \(Self.metadata.pairs) strings of \(Self.metadata.valueBytes) bytes under names of "
                    + "\(Self.metadata.keyBytes)")
        }
        return object
    }

    /// `stream_options.include_usage`.
    func includesUsage() throws(RuntimeError) -> Bool {
        guard let options = try object("stream_options") else { return false }
        return try RequestFields(json: .object(options), path: "stream_options.").flag("include_usage") ?? false
    }

    /// The members of a list of objects, each with its place.
    func objects(_ name: String) throws(RuntimeError) -> [RequestFields] {
        var all: [RequestFields] = []
        for (index, item) in (try list(name) ?? []).enumerated() {
            guard item.object != nil else { throw refusal("\(name)[\(index)]", "must be an object") }
            all.append(RequestFields(json: item, path: "\(path)\(name)[\(index)]."))
        }
        return all
    }

    /// The object of that name, with its place.
    func nested(_ name: String) throws(RuntimeError) -> RequestFields? {
        try object(name).map { RequestFields(json: .object($0), path: "\(path)\(name).") }
    }

    func required(_ name: String) throws(RuntimeError) -> String {
        guard let text = try text(name) else { throw refusal(name, "is required: a string") }
        return text
    }

    // MARK: Tools

    /// A function as both of OpenAI's dialects describe it.
    func tool() throws(RuntimeError) -> Tool {
        Tool(
            name: try functionName(), description: try text("description"),
            parameters: try object("parameters").map { .object($0) }, isStrict: try flag("strict") ?? false)
    }

    func functionName() throws(RuntimeError) -> String {
        let name = try required("name")
        let isSound = name.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "_-.".utf8.contains(byte)
        }
        guard isSound, (1...Self.toolNameBytes).contains(name.utf8.count) else {
            throw refusal("name", "must have 1 to \(Self.toolNameBytes) letters, digits, \"_\", \"-\" or \".\"")
        }
        return name
    }

    /// The id by which a call and what it gave back are joined.
    func callID(_ name: String) throws(RuntimeError) -> String {
        let id = try required(name)
        guard (1...Self.callIDBytes).contains(id.utf8.count) else {
            throw refusal(name, "must have 1 to \(Self.callIDBytes) bytes")
        }
        return id
    }

    /// A choice that cannot be met is the client's mistake.
    func check(_ choice: ToolChoice, among tools: [Tool], field: String = "tool_choice") throws(RuntimeError) {
        switch choice {
        case .auto, .none: break
        case .required:
            if tools.isEmpty { throw refusal(field, "may only be \"required\" where there are tools") }
        case .named(let name):
            if !tools.contains(where: { $0.name == name }) { throw refusal(field, "names a tool that tools does not") }
        }
    }

    /// A JSON Schema under its name: the member of `response_format` or `text.format` itself.
    func schema() throws(RuntimeError) -> AnswerShape.Format {
        guard let schema = try object("schema") else { throw refusal("schema", "is required: a JSON Schema") }
        return .jsonSchema(name: try functionName(), schema: .object(schema))
    }

    // MARK: Headers

    static func idempotencyKey(_ headers: HTTPFields) throws(RuntimeError) -> String? {
        guard let key = headers[.idempotencyKey] else { return nil }
        guard !key.isEmpty, key.utf8.count <= Limits.idempotencyKeyBytes else {
            throw RuntimeError(
                .invalidRequest, "Idempotency-Key must have 1 to \(Limits.idempotencyKeyBytes) characters",
                parameter: "Idempotency-Key")
        }
        return key
    }

    static func isRetry(_ headers: HTTPFields) -> Bool {
        (headers[.stainlessRetryCount].flatMap { Int($0) } ?? 0) >= 1
    }

    /// The conversation that `name` names.
    static func conversation(_ text: String?, _ name: String) throws(RuntimeError) -> ConversationID {
        guard let text, let id = ConversationID(text) else {
            throw RuntimeError(
                .invalidRequest,
                "\(name) must be an id of 1 to \(Limits.conversationIDBytes) visible ASCII characters", parameter: name)
        }
        return id
    }
}

extension JSON? {
    /// Anything but nothing: null, an empty list and an empty object ask for nothing.
    var asksForSomething: Bool {
        switch self {
        case nil: false
        case .array(let items): !items.isEmpty
        case .object(let object): !object.members.isEmpty
        default: true
        }
    }
}
