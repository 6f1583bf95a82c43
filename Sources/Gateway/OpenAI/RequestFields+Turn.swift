import Core
import HTTPTypes

extension ChatRequest {
    /// How the request waits for its turn, in whatever dialect: the headers speak before the body.
    ///
    /// Throws ``RuntimeError`` `.invalidRequest` with the name of the field or header.
    mutating func readTurn(_ fields: RequestFields, _ headers: HTTPFields) throws(RuntimeError) {
        if let word = headers[.turnPriority] {
            guard let priority = Ticket.Priority(rawValue: word.lowercased()) else {
                throw RuntimeError(
                    .invalidRequest, "X-Igris-Priority must be high, normal or low", parameter: "X-Igris-Priority")
            }
            self.priority = priority
        } else {
            priority = try fields.priority()
        }
        guard let text = headers[.turnDeadline] else { return }
        let longest = Limits.queuePatience.components.seconds
        guard let seconds = Double(text), seconds > 0, seconds <= Double(longest) else {
            throw RuntimeError(
                .invalidRequest,
                "X-Igris-Deadline must be seconds, above 0 and up to \(longest): so long the request may wait to begin",
                parameter: "X-Igris-Deadline")
        }
        patience = .seconds(seconds)
    }
}

extension RequestFields {
    /// A word; a number as vLLM has it, where less is sooner; else OpenAI's `service_tier`.
    fileprivate func priority() throws(RuntimeError) -> Ticket.Priority {
        switch json["priority"] {
        case .string(let word)?:
            if let priority = Ticket.Priority(rawValue: word) { return priority }
        case nil:
            switch json["service_tier"]?.string {
            case "priority": return .high
            case "flex": return .low
            default: return .normal
            }
        default:
            if let number = json["priority"]?.number { return number < 0 ? .high : number > 0 ? .low : .normal }
        }
        throw refusal("priority", "must be \"high\", \"normal\" or \"low\"")
    }
}
