import Core

/// The machine around the daemon.
enum MachineChecks {
    static let all: [PeerDoctor.Check] = [running, hostname, descriptors, instances, container, reversePath, clock]

    static func running(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("machine.daemon", "The daemon runs")
        return subject.daemon == nil
            ? check.warn("it does not answer; what only it knows is skipped", fix: "start igris-runtime and ask again")
            : check.ok("version \(subject.daemon?.version ?? "")")
    }

    static func hostname(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("machine.hostname", "This machine's own name has an address")
        let name = facts.machine.hostname
        return switch facts.machine.isHostnameKnown {
        case true?: check.ok(name)
        // Nothing here looks it up; a resolver that hangs would hold up the names in mcp.seeds too.
        case false?: check.ok("\"\(name)\" has none, and nothing here needs one")
        case nil: check.warn("asking for \"\(name)\" took too long", fix: "see the name servers in /etc/resolv.conf")
        }
    }

    static func descriptors(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("machine.descriptors", "Enough files may be open")
        let limit = facts.machine.descriptorLimit
        guard limit > 0 else { return check.skipped("the limit cannot be read") }
        return limit >= 1_024
            ? check.ok(limit > 1 << 40 ? "no limit" : "up to \(limit)")
            : check.warn("only \(limit): links may fail", fix: "ulimit -n 4096, or LimitNOFILE=4096 in the service")
    }

    static func instances(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("machine.instances", "Instances on this machine")
        let others = facts.machine.otherInstances
        guard !others.isEmpty else { return check.ok("no other") }
        return check.ok("others run here (process \(others.map(String.init).listed)): each needs a port of its own")
    }

    static func container(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("machine.container", "The LAN is not hidden behind a container's network")
        guard let container = facts.machine.container else { return check.ok("not in a container") }
        return subject.seeds.isEmpty && subject.linkedPeers.isEmpty
            ? check.warn(
                "in a container (\(container)): multicast and mDNS of the LAN rarely come in",
                fix: "use the host's network (--network host), or name a host in mcp.seeds")
            : check.ok("in a container (\(container)), with seeds or peers")
    }

    static func reversePath(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("machine.reverse_path", "The kernel does not drop what comes in by an unexpected way")
        let lan = facts.interfaces.filter(\.isOnLAN).map(\.name)
        let strict = facts.machine.hasStrictReversePath.filter(lan.contains)
        guard strict.count > 1 else { return check.ok("no strict filter between several interfaces") }
        return check.warn(
            "strict reverse path filtering on \(strict.listed), and several interfaces are in use",
            fix: "sysctl net.ipv4.conf.all.rp_filter=2")
    }

    static func clock(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("machine.clock", "This machine's clock is plausible")
        // The beginning of 2026: no build is older.
        return facts.clock >= 1_767_225_600_000
            ? check.ok("it is after the year this version was made")
            : check.warn(
                "it shows a time before this version was made", fix: "set it: timedatectl set-ntp true, or date -s")
    }
}
