import Core

/// What this host knows of the others, and what they know of it.
enum PeerChecks {
    static let all: [PeerDoctor.Check] = [
        linked, toPeers, visibility, clocks, versions, foreign, security, clones, evicted, ownEviction,
    ]

    /// Beyond this a clock disturbs the order of what was said (swarm.md §2).
    static let worstSkew = Duration.seconds(60)

    static func linked(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.linked", "Peers are linked")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        let linked = subject.linkedPeers
        guard linked.isEmpty else { return check.ok(linked.map(\.displayName).listed) }
        return subject.peers.isEmpty
            ? check.warn(
                "no other host was heard of",
                fix: "start igris-runtime on another host of this LAN; then see the checks above, here and there")
            : check.fail(
                "\(subject.peers.count) heard of, none linked: "
                    + subject.peers.prefix(4).map { "\($0.displayName) (\($0.whyNot ?? $0.state.rawValue))" }.listed,
                fix: "see the checks below")
    }

    static func toPeers(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("reach.to_peers", "Known hosts can be connected to")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        let failed = facts.peerOutcomes.filter { $0.outcome != .reached }
        guard let first = failed.first else {
            return check.ok(facts.peerOutcomes.isEmpty ? "none is missing" : "all that are missing can")
        }
        let fix =
            switch first.outcome {
            case .refused: "start igris-runtime there, or see that it listens on more than 127.0.0.1 (server.host)"
            case .unreachable: "see that both hosts are in the same network (ip addr, ip route)"
            default: "let its TCP port \(first.host.address.port) in at its firewall; see that it is switched on"
            }
        return check.warn(
            failed.map { "\($0.host.displayName) at \($0.host.address): \($0.outcome.words)" }.listed, fix: fix)
    }

    /// A way of discovery that works in one direction only: links hide that until one breaks.
    static func visibility(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.visibility", "Hosts see each other both ways")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        guard facts.answers.contains(where: { $0.answer != nil }) else {
            return check.skipped("no linked peer could be asked")
        }
        var oneWay: [String] = []
        for (host, answer) in facts.answers {
            guard let answer else { continue }
            for channel in [DiscoveryChannel.mdns, .multicast] {
                let isHeardThere = answer.heard.contains { $0.channel == channel }
                let isHeardHere = host.channels.contains(channel)
                if isHeardHere, !isHeardThere {
                    oneWay.append("\(host.displayName) does not hear this host by \(channel.rawValue)")
                } else if isHeardThere, !isHeardHere {
                    oneWay.append("this host does not hear \(host.displayName) by \(channel.rawValue)")
                }
            }
        }
        return oneWay.isEmpty
            ? check.ok("as far as peers answered")
            : check.warn(
                oneWay.listed,
                fix: "run the doctor on that host too; a firewall that lets out but not in is the usual cause")
    }

    static func clocks(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.clock", "Clocks agree")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        let skews = subject.peers.compactMap { host in host.clockSkew.map { (host, $0) } }
        guard !skews.isEmpty else { return check.skipped("no peer's clock is known") }
        let wrong = skews.filter { $0.1 > worstSkew || .zero - $0.1 > worstSkew }
        guard !wrong.isEmpty else { return check.ok("within \(worstSkew.components.seconds) s") }
        return check.warn(
            wrong.map { "\($0.0.displayName) is \(Self.words($0.1))" }.listed,
            fix: "set the clocks (timedatectl set-ntp true); nothing is lost, but turns may be shown out of order")
    }

    private static func words(_ skew: Duration) -> String {
        let seconds = skew.components.seconds
        return seconds >= 0 ? "\(seconds) s ahead" : "\(-seconds) s behind"
    }

    static func versions(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.version", "All hosts run the same version")
        guard let own = subject.daemon?.version else { return check.skipped("the daemon does not run") }
        let others = subject.linkedPeers.filter { !$0.version.isEmpty && $0.version != own }
        return others.isEmpty
            ? check.ok(own)
            : check.warn(
                "here \(own); \(others.map { "\($0.displayName) \($0.version)" }.listed)",
                fix: "update the older ones, one after the other")
    }

    static func foreign(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.foreign", "No host of another swarm is near")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        let foreign = subject.peers.filter { $0.state == .foreign }
        return foreign.isEmpty
            ? check.ok("none")
            : check.warn(
                "another swarm key: "
                    + foreign.map { "\($0.displayName) at \($0.address)" }.listed,
                fix: "if they should belong here, run `igris-runtime swarm join KEY` there, or set the same"
                    + " MCP_ENCRYPTION_KEY")
    }

    static func security(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.security", "All hosts are open, or all have a key")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        let others = subject.peers.filter { $0.state == .incompatible }
        let here = subject.security == .open ? "open" : "keyed"
        return others.isEmpty
            ? check.ok(here)
            : check.warn(
                "this host is \(here), these are not: \(others.map(\.displayName).listed)",
                fix: "set mcp.open to the same value everywhere")
    }

    static func clones(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.clones", "Every identity is there once")
        guard let own = subject.daemon?.node else { return check.skipped("the daemon does not run") }
        let clones = subject.peers.filter { $0.state == .cloned || $0.id == own }
        return clones.isEmpty
            ? check.ok("no identity is used twice")
            : check.fail(
                "an identity is used twice: "
                    + clones.map { "\($0.id?.description.prefix(8) ?? "?") at \($0.address)" }.listed,
                fix:
                    "on the copied machine stop igris-runtime, delete node.key in its state directory and start it again"
            )
    }

    static func evicted(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.evicted", "No evicted host tries to come back")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        let evicted = subject.peers.filter { $0.state == .evicted && !refusesThisHost($0) }
        return evicted.isEmpty
            ? check.ok("none")
            : check.warn(
                evicted.map { "\($0.displayName) at \($0.address)" }.listed,
                fix: "switch it off; to let it in again, delete node.key in its state directory and give it the new key"
            )
    }

    static func ownEviction(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("peers.own_eviction", "This host was not evicted")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        let by = subject.peers.filter(refusesThisHost)
        let isEvicted = subject.daemon?.hosts.contains { $0.isSelf && $0.state == .evicted } == true
        return by.isEmpty && !isEvicted
            ? check.ok("nobody refuses it")
            : check.fail(
                by.isEmpty ? "it was told so" : "refused as evicted by \(by.map(\.displayName).listed)",
                fix:
                    "ask for the new key, delete node.key in the state directory and run `igris-runtime swarm join KEY`"
            )
    }

    /// As a mesh and a link say it, when the other side denies this host; else it is the other that was evicted.
    private static func refusesThisHost(_ host: HostReport) -> Bool {
        host.state == .evicted && host.whyNot?.contains("refuses this host") == true
    }
}
