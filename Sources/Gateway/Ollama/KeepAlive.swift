import Core

extension KeepAlive {
    /// `"5m"`, seconds as a number, 0 for not at all, below 0 for ever. Nil where the client says nothing. Throws
    /// ``RuntimeError`` `.invalidRequest`.
    init?(_ fields: RequestFields) throws(RuntimeError) {
        guard let value = fields.json["keep_alive"] else { return nil }
        let read = value.number.flatMap { KeepAlive(seconds: $0) } ?? value.string.flatMap { KeepAlive($0) }
        guard let read else {
            throw fields.refusal("keep_alive", "must be seconds, or a duration such as \"5m\" or \"1h30m\"")
        }
        self = read
    }
}
