import Core
import Node
import Swarm

/// The body of `POST /v1/requests`, understood.
struct RequestBody {
    private static let capabilities = 32
    private static let nameBytes = 255
    private static let hosts = 64
    private static let replicas: Int64 = 64
    private static let usualPatience: Int64 = 3_600_000

    var order: RequestOrder
    var messages: [Message]

    /// - Parameter wall: milliseconds since 1970.
    /// - Throws: ``RuntimeError`` `.invalidRequest` with the field's name.
    init(_ json: JSON, wall: UInt64) throws(RuntimeError) {
        guard json.object != nil else {
            throw RuntimeError(
                .invalidRequest, "the body must be a JSON object with \"model\" and \"messages\" or \"prompt\"")
        }
        let fields = RequestFields(json: json)
        messages = try Self.messages(fields)
        order = RequestOrder(model: try fields.model(), deadline: try Self.deadline(fields, wall))
        let limit = try fields.integer("max_completion_tokens", in: 1...Int64.max)
        let olderLimit = try fields.integer("max_tokens", in: 1...Int64.max)
        order.maximumTokens = (limit ?? olderLimit).map { Int(clamping: $0) }
        order.stop = try fields.stop()
        order.sampling = try fields.sampling()
        guard order.sampling.logitBias.isEmpty else { throw fields.refusal("logit_bias", "is not supported here") }
        order.needs = try Self.names("required_capabilities", fields, atMost: Self.capabilities)
        order.hosts = try Self.names("hosts", fields, atMost: Self.hosts)
        if let word = try fields.text("priority") {
            guard let priority = Ticket.Priority(rawValue: word) else {
                throw fields.refusal("priority", "must be low, normal or high")
            }
            order.priority = priority
        }
        order.replicas = Int(clamping: try fields.integer("replication_factor", in: 0...Self.replicas) ?? 3)
        order.metadata = try fields.metadata().map { .object($0) }
        try readMode(fields)
    }

    private mutating func readMode(_ fields: RequestFields) throws(RuntimeError) {
        if let word = try fields.text("mode") {
            guard let mode = Gathering.Mode(rawValue: word) else {
                throw fields.refusal("mode", "must be merge, vote or first-success")
            }
            order.mode = mode
        }
        let count = try fields.integer("n", in: 1...Int64(Limits.choices)).map { Int($0) }
        let redundancy = try fields.integer("redundancy", in: 1...Int64(Limits.choices)).map { Int($0) }
        if let redundancy {
            guard order.mode == nil || order.mode == .firstSuccess else {
                throw fields.refusal("redundancy", "means first-success; leave mode out")
            }
            guard count == nil else { throw fields.refusal("redundancy", "and n are the same; name one of them") }
            order.count = redundancy
            if redundancy > 1 { order.mode = .firstSuccess }
            return
        }
        guard order.mode != nil else {
            guard count ?? 1 == 1 else { throw fields.refusal("n", "needs a mode: merge, vote or first-success") }
            return
        }
        order.count = count ?? (order.hosts.isEmpty ? 3 : min(Limits.choices, order.hosts.count))
    }

    private static func messages(_ fields: RequestFields) throws(RuntimeError) -> [Message] {
        guard let prompt = try fields.text("prompt") else { return try ChatCompletionRequest.messages(fields) }
        guard fields.json["messages"] == nil else { throw fields.refusal("prompt", "and messages exclude each other") }
        guard !prompt.isEmpty else { throw fields.refusal("prompt", "must not be empty") }
        return [Message(.user, prompt)]
    }

    private static func names(
        _ name: String, _ fields: RequestFields, atMost count: Int
    ) throws(RuntimeError) -> [String] {
        let list = try fields.list(name) ?? []
        let names = list.compactMap(\.string)
        guard names.count == list.count, names.count <= count,
            names.allSatisfy({ (1...nameBytes).contains($0.utf8.count) })
        else { throw fields.refusal(name, "must be a list of at most \(count) names of 1 to \(nameBytes) bytes") }
        return names
    }

    /// A moment as RFC 3339, or milliseconds from now.
    private static func deadline(_ fields: RequestFields, _ wall: UInt64) throws(RuntimeError) -> UInt64 {
        let longest = Int64(RequestNote.longest / .milliseconds(1))
        let problem = fields.refusal(
            "deadline", "must be a moment (RFC 3339) within a day, or milliseconds from now, at most \(longest)")
        guard let value = fields.json["deadline"] else { return wall + UInt64(usualPatience) }
        var patience = value.integer
        if let text = value.string {
            guard let moment = Timestamp(rfc3339: text) else { throw problem }
            patience = moment.milliseconds - Int64(clamping: wall)
        }
        guard let patience, (1...longest).contains(patience) else { throw problem }
        return wall + UInt64(patience)
    }
}
