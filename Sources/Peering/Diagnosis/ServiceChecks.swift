import Core

/// mDNS: library, bus, daemon and what it shows.
enum ServiceChecks {
    static let all: [PeerDoctor.Check] = [library, bus, daemon, responder, visible, channel]

    static func library(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("mdns.library", "The mDNS library is installed")
        guard subject.mdns else { return check.skipped("mcp.mdns is off") }
        guard let trial = facts.services else { return check.skipped("the trial took too long") }
        return trial.hasLibrary
            ? check.ok(DNSServiceLibrary.fileName)
            : check.warn(
                "\(DNSServiceLibrary.fileName) is not there; multicast does without",
                fix: "apt-get install libavahi-compat-libdnssd1 avahi-daemon")
    }

    static func bus(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("mdns.dbus", "The system bus is there, over which Avahi is asked")
        guard subject.mdns else { return check.skipped("mcp.mdns is off") }
        guard let trial = facts.services else { return check.skipped("the trial took too long") }
        if trial.hasSystemBus { return check.ok("/run/dbus/system_bus_socket") }
        return trial.browseCode == 0
            ? check.ok("not where it usually is, and not needed")
            : check.warn("/run/dbus/system_bus_socket is not there", fix: "systemctl start dbus")
    }

    static func daemon(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("mdns.daemon", "The mDNS daemon answers")
        guard subject.mdns else { return check.skipped("mcp.mdns is off") }
        guard let trial = facts.services else {
            return check.warn("it took more than 6 s", fix: "systemctl restart avahi-daemon; multicast does without")
        }
        guard trial.hasLibrary else { return check.skipped("without the library it cannot be asked") }
        return trial.browseCode == 0
            ? check.ok("avahi-daemon answers")
            : check.warn(
                "it does not answer (error \(trial.browseCode.map(String.init) ?? "none")); multicast does without",
                fix: "systemctl enable --now avahi-daemon")
    }

    static func responder(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("mdns.port", "One program answers at the mDNS port, 5353")
        guard subject.mdns else { return check.skipped("mcp.mdns is off") }
        guard let trial = facts.services else { return check.skipped("the trial took too long") }
        guard trial.isPort5353Open else {
            return check.warn("nobody listens at UDP port 5353", fix: "systemctl enable --now avahi-daemon")
        }
        let others = trial.responders.filter { !$0.hasPrefix("avahi-daemon") }
        guard trial.responders.contains(where: { $0.hasPrefix("avahi-daemon") }), !others.isEmpty else {
            return check.ok(trial.responders.isEmpty ? "somebody listens" : trial.responders.listed)
        }
        return others.contains { $0.hasPrefix("systemd-resolve") }
            ? check.warn(
                "\(others.listed) answers beside Avahi: the two may take each other's names",
                fix: "set MulticastDNS=no in /etc/systemd/resolved.conf and restart systemd-resolved")
            : check.ok("avahi-daemon, and \(others.listed) listens along")
    }

    static func visible(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("mdns.visible", "This host sees its own service")
        guard subject.mdns else { return check.skipped("mcp.mdns is off") }
        guard let daemon = subject.daemon else { return check.skipped("the daemon does not run") }
        guard let trial = facts.services, trial.browseCode == 0 else {
            return check.skipped("mDNS was not to be asked")
        }
        guard !Reach(host: subject.host).isLoopbackOnly else {
            return check.skipped("the server listens on loopback only and is not registered")
        }
        let others = trial.names.count { !$0.hasPrefix(daemon.node.description) }
        return others < trial.names.count
            ? check.ok("and \(others) of other hosts")
            : check.warn(
                "its own service is not shown, \(others) of other hosts are",
                fix: "see that Avahi publishes (disable-publishing=no) and uses your interface (allow-interfaces) in"
                    + " /etc/avahi/avahi-daemon.conf")
    }

    static func channel(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("mdns.state", "The mDNS channel works")
        guard let status = subject.status(.mdns) else { return check.skipped("the daemon does not run") }
        return switch status.state {
        case .on: check.ok(status.detail)
        case .off: check.skipped(status.detail)
        case .unavailable: check.warn(status.detail, fix: "see mdns.library and mdns.daemon")
        }
    }
}
