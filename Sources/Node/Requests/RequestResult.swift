package import Core
package import Swarm

/// One host's share in a request.
package struct RequestPart: Sendable {
    package var node: NodeID
    /// The host that wrote it last, where it went on elsewhere.
    package var servedBy: NodeID
    package var reason: String
    package var state = Gathering.State.running
    package var text = ""
    package var finishReason: FinishReason?
    package var usage: TokenUsage?
    /// Why it failed.
    package var error: String?
    package var votes = 0
    /// Milliseconds since 1970.
    package var began: UInt64
    package var ended: UInt64?
}

/// What came of a request: its answer, and how that came to be.
package struct RequestResult: Sendable {
    package enum Status: String, Hashable, Sendable {
        case completed, failed, cancelled
    }

    package var status: Status
    package var text = ""
    package var finishReason: FinishReason
    package var usage = TokenUsage(promptTokens: 0, completionTokens: 0, isExact: false)
    package var model = ""
    package var servedBy: NodeID?
    package var reason: String?
    /// The decision that chose the first host.
    package var decision: RouteDecision?
    package var parts: [RequestPart] = []
    package var error: (code: String, message: String)?

    package init(_ status: Status, finishReason: FinishReason) {
        self.status = status
        self.finishReason = finishReason
    }

    static func failed(_ code: String, _ message: String) -> RequestResult {
        var result = RequestResult(.failed, finishReason: .failed)
        result.error = (code, message)
        return result
    }

    // MARK: - As it is kept

    /// What stands beside the answer.
    func annotation(trace: JSON) -> JSON {
        var object = JSON.Object()
        object["kind"] = .string(RequestOrder.kind)
        object["status"] = .string(status.rawValue)
        object["served_by"] = .string(servedBy?.description)
        object["route_reason"] = .string(reason)
        if let decision { object["route"] = decision.json }
        object["parts"] = .array(parts.enumerated().map { $1.json(number: $0) })
        object["error"] = error.map { ["code": .string($0.code), "message": .string($0.message)] } ?? .null
        object["trace"] = trace
        return .object(object)
    }
}

extension RequestPart {
    package func json(number: Int) -> JSON {
        var object = JSON.Object()
        object["part"] = .integer(Int64(number))
        object["node"] = .string(node.description)
        object["served_by"] = .string(servedBy.description)
        object["route_reason"] = .string(reason)
        object["status"] = .string(state.rawValue)
        object["text"] = .string(text)
        object["finish_reason"] = .string(finishReason?.rawValue)
        object["votes"] = .integer(Int64(votes))
        object["usage"] = usage?.json ?? .null
        object["error"] = .string(error)
        object["began"] = .string(Timestamp(since1970: began).description)
        object["ended"] = .string(ended.map { Timestamp(since1970: $0).description })
        return .object(object)
    }
}

extension TokenUsage {
    package var json: JSON {
        [
            "prompt_tokens": .integer(Int64(promptTokens)), "completion_tokens": .integer(Int64(completionTokens)),
            "total_tokens": .integer(Int64(totalTokens)),
        ]
    }
}

extension RouteDecision {
    /// What every candidate was worth; in an auction these are the bids, from which the winner can be computed again.
    fileprivate var json: JSON {
        [
            "algorithm": .string(algorithm.rawValue), "reason": .string(reason),
            "hosts": .array(
                judgements.map { judgement in
                    var parts = JSON.Object()
                    for part in judgement.parts { parts[part.name] = .number(part.value) }
                    return [
                        "node": .string(judgement.node.description), "name": .string(judgement.name),
                        "score": judgement.score.map { .number($0) } ?? .null, "parts": .object(parts),
                        "why_not": .string(judgement.whyNot),
                    ]
                }),
        ]
    }
}

extension JSON {
    static func string(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
}
