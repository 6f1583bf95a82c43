import Core
import Node

extension RouteReport {
    var json: JSON {
        var object = JSON.Object()
        object["object"] = "route"
        object["model"] = .string(model)
        object["algorithm"] = .string(algorithm)
        object["served_by"] = .string(node?.description)
        object["reason"] = .string(reason)
        object["hosts"] = .array(hosts.map(\.json))
        return .object(object)
    }
}

extension RouteReport.Host {
    fileprivate var json: JSON {
        var values = JSON.Object()
        for part in parts { values[part.name] = .number(part.value) }
        var object = JSON.Object()
        object["node"] = .string(node.description)
        object["name"] = .string(name)
        object["score"] = score.map { .number($0) } ?? .null
        object["parts"] = .object(values)
        object["why_not"] = .string(whyNot)
        return .object(object)
    }
}
