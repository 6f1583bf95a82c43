import Core

extension [Failover] {
    /// The member `failover` of `igris`: who went on with the answer; nil where nobody had to.
    var json: JSON? {
        guard !isEmpty else { return nil }
        return .array(
            map { failover in
                [
                    "from": .string(failover.from.description), "to": .string(failover.to.description),
                    "cause": .string(failover.cause.rawValue), "way": .string(failover.way.rawValue),
                ]
            })
    }

    /// The member `igris` of an answer's end.
    var report: JSON? { json.map { ["failover": $0] } }
}
