import Core
import Node

extension SwarmReport {
    /// `GET /v1/swarm/status`; begins with id, role and phase of the host that answers.
    var json: JSON {
        [
            "id": .string(node.description), "role": .string(role), "phase": .string(phase.rawValue),
            "name": .string(name), "instance": .string(instance.description), "swarm": .string(swarm.description),
            "security": .string(security.rawValue),
            "members": [
                "alive": .integer(Int64(alive)), "suspect": .integer(Int64(suspect)), "dead": .integer(Int64(dead)),
            ],
            "links": [
                "mode": .string(isTree ? "tree" : "mesh"), "limit": .integer(Int64(meshLimit)),
                "own": .integer(Int64(linked)),
            ],
            "digest": .string(digest), "operations": .integer(Int64(operations)),
            "divergences": .integer(Int64(divergences)), "rotation": rotation?.json ?? .null,
            "warnings": .array(warnings.map { .string($0) }), "discovery": .array(channels.map(\.json)),
            "phase_history": .array(phases.map { ["phase": .string($0.phase.rawValue), "at": .moment($0.at)] }),
        ]
    }
}

extension RotationReport {
    var json: JSON {
        [
            "phase": .string(phase.rawValue), "from": .string(from.description), "to": .string(to.description),
            "confirmed": .nodes(confirmed), "waiting": .nodes(waiting),
        ]
    }
}

extension DeletionReport {
    func json(of id: ConversationID) -> JSON {
        [
            "id": .string(id.rawValue), "object": "context.deleted", "deleted": true, "confirmed": .nodes(confirmed),
            "pending": .nodes(pending),
        ]
    }
}

extension DiscoveryStatus {
    var json: JSON {
        [
            "channel": .string(channel.rawValue), "state": .string(state.rawValue), "detail": .string(detail),
            "sent": .integer(Int64(sent)), "received": .integer(Int64(received)), "last_sent": .moment(lastSent),
            "last_received": .moment(lastReceived),
        ]
    }
}

extension DiagnosticCheck {
    var json: JSON {
        [
            "id": .string(id), "title": .string(title), "verdict": .string(verdict.rawValue),
            "finding": .string(finding), "fix": .string(fix),
        ]
    }
}

extension SwarmEvent {
    var json: JSON {
        [
            "event": .string(name), "at": .moment(at), "node": .string(node?.description), "detail": .string(detail),
        ]
    }
}

extension VersionVector {
    var json: JSON {
        let entries = entries.map { entry -> JSON in
            // A count past 2⁶³ is no count of ours; as a text it would surprise every reader.
            [
                "node": .string(entry.origin.node.description), "epoch": .integer(Int64(entry.origin.epoch)),
                "sequence": .integer(Int64(clamping: entry.sequence)),
            ]
        }
        return ["vector": .array(entries)]
    }
}

extension JSON {
    fileprivate static func nodes(_ nodes: [NodeID]) -> JSON { .array(nodes.map { .string($0.description) }) }
}
