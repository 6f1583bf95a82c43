import Core
import Node

/// Hosts and links on pages. The words are those of `igris-runtime peers` and of the log.
extension HostReport {
    /// Begins with the three fields of the requirement; every field is always there.
    var json: JSON {
        [
            "id": .string(id?.description), "address": .string("\(address)"),
            "last_seen": .string(Timestamp(since1970: lastSeen).description), "state": .string(state.rawValue),
            "name": .string(name), "self": .bool(isSelf), "rtt_ms": .milliseconds(roundTrip),
            "lag": .integer(Int64(clamping: behind.addingReportingOverflow(ahead).partialValue)),
            "behind": .integer(Int64(behind)), "ahead": .integer(Int64(ahead)), "sync": .string(sync),
            "version": .string(version), "role": .string(role), "zone": .string(zone),
            "models": .array(models.filter(\.isReady).map { .string($0.name) }),
            "via": .array(channels.map { .string($0.rawValue) }), "swarm": .string(swarm?.description),
            "clock_skew_ms": .milliseconds(clockSkew),
            "reputation": reputation.map { .integer(Int64($0)) } ?? .null, "excluded": .bool(isExcluded),
            "why_not": .string(whyNot),
        ]
    }

    /// How its log stands to ours, in one word.
    private var sync: String {
        switch state {
        case .alive, .suspect:
            if isSelf {
                "equal"
            } else if let isCompared {
                isCompared && behind == 0 && ahead == 0 ? "equal" : "syncing"
            } else {
                "not_linked"
            }
        case .dead, .left: "away"
        case .connecting, .unreachable: "not_linked"
        case .foreign: "key_mismatch"
        case .evicted, .incompatible, .cloned: state.rawValue
        }
    }
}

extension LinkReport {
    var json: JSON {
        [
            "from": .string(from.description), "to": .string(to.description), "rtt_ms": .milliseconds(roundTrip),
            "bytes_sent": bytesSent.map { .integer(Int64($0)) } ?? .null,
            "bytes_received": bytesReceived.map { .integer(Int64($0)) } ?? .null,
        ]
    }
}

extension JSON {
    /// `null` where there is none.
    static func string(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }

    static func milliseconds(_ duration: Duration?) -> JSON {
        guard let duration else { return .null }
        let (seconds, attoseconds) = duration.components
        // To the microsecond; more would be noise.
        let fraction = (Double(attoseconds) / 1e12).rounded() / 1_000
        return .number(Double(seconds) * 1_000 + fraction)
    }

    /// A moment in milliseconds since 1970, as RFC 3339 says it.
    static func moment(_ milliseconds: UInt64?) -> JSON {
        milliseconds.map { .string(Timestamp(since1970: $0).description) } ?? .null
    }
}
