import Core

/// Whether others can connect to this host.
enum ServerChecks {
    static let all: [PeerDoctor.Check] = [listening, address, own, fromPeers, firewallUDP, firewallTCP]

    static func listening(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("server.listening", "The server listens")
        let found = facts.listeners.filter { $0.port == subject.port }
        guard found.isEmpty else {
            return check.ok("TCP port \(subject.port) at \(found.map { $0.address.description }.listed)")
        }
        return subject.daemon == nil
            ? check.fail("nobody listens at TCP port \(subject.port)", fix: "start igris-runtime")
            : check.skipped("the table of listening sockets does not show it")
    }

    static func address(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("server.address", "The server listens where other machines can connect")
        return Reach(host: subject.host).isLoopbackOnly
            ? check.warn(
                "server.host is \(subject.host): only this machine can connect",
                fix: "set server.host to 0.0.0.0, unless all instances are on this machine")
            : check.ok("server.host is \(subject.host)")
    }

    static func own(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("server.own", "The server is reached at this machine's own addresses")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        let tried = Array(zip(facts.ownAddresses, facts.ownOutcomes))
        guard !tried.isEmpty else { return check.skipped("there is no address but loopback") }
        let failed = tried.filter { $0.1 != .reached }
        return failed.isEmpty
            ? check.ok(tried.map { $0.0.description }.listed)
            : check.warn(
                failed.map { "\($0.0): \($0.1.words)" }.listed,
                fix: "see server.address and the firewall of this machine")
    }

    static func fromPeers(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("reach.from_peers", "Peers can connect to this host")
        guard subject.daemon != nil else { return check.skipped("the daemon does not run") }
        guard !facts.answers.isEmpty else { return check.skipped("no peer is linked that could try") }
        let answers = facts.answers.compactMap { one in one.answer.map { (one.host, $0) } }
        guard !answers.isEmpty else {
            return check.warn("no peer answered the doctor's question", fix: "see the logs of the peers")
        }
        // An address of another network is not theirs to reach: one that works is enough.
        let deaf = answers.filter { answer in
            let tried = answer.1.reached.filter { $0.outcome != .notTried }
            return !tried.isEmpty && !tried.contains { $0.outcome == .reached }
        }
        guard let first = deaf.first else {
            return check.ok("\(answers.map { $0.0.displayName }.listed) can")
        }
        let outcomes = first.1.reached.map { "\($0.address): \($0.outcome.words)" }.listed
        return check.warn(
            "\(deaf.map { $0.0.displayName }.listed) cannot (\(outcomes)); links work only as long as this host opens them",
            fix: "let TCP port \(subject.port) in: `ufw allow \(subject.port)/tcp`, or"
                + " `firewall-cmd --permanent --add-port=\(subject.port)/tcp && firewall-cmd --reload`")
    }

    static func firewallUDP(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("firewall.udp", "This machine's firewall lets beacons in")
        guard subject.multicast else { return check.skipped("mcp.multicast is off") }
        return firewall(check, facts.firewall, .udp, subject.multicastPort)
    }

    static func firewallTCP(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        firewall(
            Finding("firewall.tcp", "This machine's firewall lets peers connect"), facts.firewall, .tcp, subject.port)
    }

    private static func firewall(
        _ check: Finding, _ facts: FirewallFacts, _ transport: FirewallRules.Transport, _ port: Int
    ) -> DiagnosticCheck {
        guard let rules = facts.rules else { return check.skipped("\(facts.reason); run the doctor as root") }
        let fix =
            switch rules.manager {
            case .ufw: "ufw allow \(port)/\(transport.rawValue)"
            case .firewalld:
                "firewall-cmd --permanent --add-port=\(port)/\(transport.rawValue) && firewall-cmd --reload"
            case nil:
                "nft insert rule inet filter input \(transport.rawValue) dport \(port) accept (or as your firewall has it)"
            }
        if rules.refuses(transport, port), !rules.accepts(transport, port) {
            return check.fail("a rule drops \(transport.rawValue) port \(port)", fix: fix)
        }
        if !rules.droppingChains.isEmpty, !rules.accepts(transport, port) {
            return check.warn(
                "what no rule accepts is dropped (\(rules.droppingChains.listed)), and no rule names"
                    + " \(transport.rawValue) port \(port)", fix: fix)
        }
        return check.ok("no rule against \(transport.rawValue) port \(port)")
    }
}

extension HostReport {
    /// The name, or as much of the identity as tells hosts apart.
    var displayName: String {
        name.isEmpty ? id.map { String($0.description.prefix(8)) } ?? address.description : name
    }
}
