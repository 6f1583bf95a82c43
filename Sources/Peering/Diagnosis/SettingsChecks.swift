import Core

/// What the settings switch off or leave open.
enum SettingsChecks {
    static let all: [PeerDoctor.Check] = [enabled, mdns, multicast, anyChannel, keySource, openSwarm, allowlist]

    static func enabled(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("settings.enabled", "Shared context is on")
        return subject.isEnabled
            ? check.ok("mcp.enabled is true")
            : check.fail("mcp.enabled is false: this host keeps to itself", fix: "set mcp.enabled to true")
    }

    static func mdns(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("settings.mdns", "mDNS is switched on")
        if subject.mdns { return check.ok("mcp.mdns is true") }
        return subject.multicast || !subject.seeds.isEmpty
            ? check.ok("mcp.mdns is false; another way is on")
            : check.warn("mcp.mdns is false", fix: "set mcp.mdns to true")
    }

    static func multicast(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("settings.multicast", "Multicast is switched on")
        if subject.multicast { return check.ok("mcp.multicast is true, port \(subject.multicastPort)") }
        return check.warn(
            "mcp.multicast is false: hosts without mDNS do not find this one", fix: "set mcp.multicast to true")
    }

    static func anyChannel(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("settings.channels", "Some way to find peers is on")
        let on = [
            subject.mdns ? "mDNS" : nil, subject.multicast ? "multicast" : nil, subject.seeds.isEmpty ? nil : "seeds",
        ]
        .compactMap { $0 }
        return on.isEmpty
            ? check.fail(
                "mcp.mdns and mcp.multicast are off and mcp.seeds is empty",
                fix: "switch one on, or name a host in mcp.seeds")
            : check.ok(on.listed)
    }

    static func keySource(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("key.source", "The swarm key is shared")
        guard subject.security == .key else { return check.ok("an open swarm has no key of its own") }
        let source = subject.keySource ?? "a source that was not told"
        guard subject.isKeyOfThisMachineOnly else { return check.ok("the key comes from \(source)") }
        let finding =
            "the key comes from \(source): it was made here, and no host of another machine was met with it yet"
        // Instances of one machine are a swarm in good order.
        guard subject.linkedPeers.isEmpty else { return check.ok(finding) }
        return check.warn(
            finding,
            fix: "on the other machine run `igris-runtime swarm join KEY` with the key that `igris-runtime swarm key "
                + "--reveal` prints here, or set the same MCP_ENCRYPTION_KEY on both")
    }

    static func openSwarm(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("key.open", "Only holders of the key may join")
        return subject.security == .key
            ? check.ok("mcp.open is false")
            : check.warn(
                "mcp.open is true: everyone on this LAN is in, and hosts with a key are not seen",
                fix: "set mcp.open to false and use the same key on all hosts, unless this is what you want")
    }

    static func allowlist(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("settings.allowlist", "The address list lets peers in")
        guard !subject.addressAllowlist.isEmpty else { return check.ok("auth.ip_allowlist is empty: all may connect") }
        let blocks = subject.addressAllowlist.compactMap { AddressRange($0) }
        let outside = subject.peers.filter { peer in
            guard let address = IPAddress(peer.address.host), !address.isLoopback else { return false }
            return !blocks.contains { $0.contains(address) }
        }
        return outside.isEmpty
            ? check.ok("auth.ip_allowlist holds every host that is known")
            : check.warn(
                "auth.ip_allowlist leaves out \(outside.map { $0.address.host }.listed)",
                fix: "add these addresses, or the block of your LAN, to auth.ip_allowlist")
    }
}
