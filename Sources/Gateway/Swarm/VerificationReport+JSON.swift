import Core
import Node

extension VerificationReport {
    /// `POST /v1/swarm/verify`.
    var json: JSON {
        var object = JSON.Object()
        object["verdict"] = .string(verdict)
        object["operations"] = .integer(Int64(operations))
        object["conversations"] = .integer(Int64(conversations))
        object["damaged"] = .array(findings.map(\.json))
        if let peers { object["peers"] = .array(peers.map(\.json)) }
        return .object(object)
    }

    /// The worst of it, in one word.
    private var verdict: String {
        if findings.contains(where: { !$0.isRepaired }) { return "damaged" }
        if peers?.contains(where: { !$0.differences.isEmpty }) == true { return "differs" }
        if !findings.isEmpty { return "repaired" }
        return peers?.contains { $0.failure != nil } == true ? "incomplete" : "ok"
    }
}

extension StoreVerification.Finding {
    fileprivate var json: JSON {
        [
            "operation": .string(operation.description), "stream": .string(stream?.description),
            "conversation": .string(conversation?.rawValue), "repaired": .bool(isRepaired),
        ]
    }
}

extension VerificationReport.Peer {
    fileprivate var json: JSON {
        [
            "id": .string(node.description), "name": .string(name),
            "state": .string(failure != nil ? "not_asked" : differences.isEmpty ? "equal" : "differs"),
            "why_not": .string(failure), "differences": .array(differences.map(\.json)),
        ]
    }
}

extension VerificationReport.Difference {
    fileprivate var json: JSON {
        [
            "conversation": .string(conversation?.rawValue), "stream": .string(stream.description),
            "here": here.json, "there": there.json,
        ]
    }
}

extension StreamDigest {
    fileprivate var json: JSON {
        ["operations": .integer(Int64(clamping: operations)), "digest": .string(sum.description)]
    }
}
