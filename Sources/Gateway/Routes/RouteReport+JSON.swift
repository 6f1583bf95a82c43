import Core
import Node

extension RouteReport {
    var json: JSON {
        var object: JSON.Object = [
            "object": "route", "model": .string(model), "algorithm": .string(algorithm), "reason": .string(reason),
        ]
        object["served_by"] = node.map { .string($0.description) } ?? .null
        object["hosts"] = .array(
            hosts.map { host in
                var fields: JSON.Object = ["node": .string(host.node.description), "name": .string(host.name)]
                fields["score"] = host.score.map { .number($0) } ?? .null
                var parts = JSON.Object()
                for part in host.parts { parts[part.name] = .number(part.value) }
                fields["parts"] = .object(parts)
                fields["why_not"] = host.whyNot.map { .string($0) } ?? .null
                return .object(fields)
            })
        return .object(object)
    }
}
