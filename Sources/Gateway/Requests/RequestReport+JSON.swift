import Core
import Node
import Swarm

extension RequestReport {
    var json: JSON {
        var object = JSON.Object()
        object["id"] = .string(RequestName.text(id))
        object["object"] = "request"
        object["status"] = .string(status)
        object["created_at"] = .integer(created)
        object["deadline"] = .string(Timestamp(since1970: order.deadline).description)
        object["model"] = .string(order.model)
        object["priority"] = .string(order.priority.rawValue)
        object["mode"] = .string(order.mode?.rawValue)
        object["n"] = .integer(Int64(order.count))
        object["required_capabilities"] = .array(order.needs.map { .string($0) })
        object["replication_factor"] = .integer(Int64(order.replicas))
        object["replicas"] = .integer(Int64(replicas))
        object["metadata"] = order.metadata ?? [:]
        object["conversation"] = .string(conversation.rawValue)
        object["host"] = .string(host?.description)
        object["reruns"] = .integer(Int64(reruns))
        object["discarded"] = .integer(Int64(discarded))
        object["served_by"] = result?["served_by"] ?? .null
        object["route_reason"] = result?["route_reason"] ?? .null
        object["route"] = result?["route"] ?? .null
        let isAuction = result?["route"]?["algorithm"]?.string == "auction"
        object["bids"] = isAuction ? result?["route"]?["hosts"] ?? [] : []
        object["parts"] = result?["parts"] ?? []
        object["result"] = resultJSON
        object["error"] = result?["error"] ?? (status == "failed" ? Self.lost : .null)
        object["trace"] = trace
        return .object(object)
    }

    /// Only where the log has lost its notes, or a version of the past kept them otherwise.
    private static let lost: JSON = ["code": "lost", "message": "nothing is known of what came of it; ask again"]

    private var resultJSON: JSON {
        guard let answer, let outcome = answer.outcome, status != "failed" || !answer.message.text.isEmpty else {
            return .null
        }
        return [
            "text": .string(answer.message.text), "finish_reason": .string(outcome.finishReason.rawValue),
            "usage": outcome.usage.json,
        ]
    }
}
