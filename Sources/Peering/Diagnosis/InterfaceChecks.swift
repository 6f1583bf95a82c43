import Core

/// The interfaces of this machine.
enum InterfaceChecks {
    static let all: [PeerDoctor.Check] = [
        present, carrier, multicastFlag, mtu, virtual, overlap, linkLocal, wireless, snooping, memberships,
    ]

    static func present(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.present", "A network interface is up and has an address")
        let usable = facts.interfaces.filter(\.isOnLAN)
        guard usable.isEmpty else {
            return check.ok(
                usable.map { one in
                    "\(one.name) \(one.interface.addresses.first.map { $0.address.description } ?? "")"
                }.listed)
        }
        return check.warn(
            "only loopback: instances on this machine are found, other machines are not",
            fix: "connect this machine to the LAN and see that it gets an address (ip addr)")
    }

    static func carrier(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.carrier", "Cables are plugged in")
        let dead = facts.interfaces.filter { $0.kind == .physical || $0.kind == .wireless }
            .filter { $0.interface.isUp && !$0.interface.isRunning && !$0.interface.addresses.isEmpty }
        return dead.isEmpty
            ? check.ok("every interface that is up has a link")
            : check.warn(
                "no link on \(dead.map(\.name).listed)", fix: "plug in the cable, or join the wireless network")
    }

    static func multicastFlag(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.multicast", "Interfaces carry multicast")
        let lacking = facts.interfaces.filter {
            $0.isOnLAN && $0.kind != .tunnel && !$0.interface.hasMulticast
        }
        return lacking.isEmpty
            ? check.ok("all that lead to a LAN do")
            : check.warn(
                "multicast is switched off on \(lacking.map(\.name).listed)",
                fix: lacking.map { "ip link set \($0.name) multicast on" }.joined(separator: "; "))
    }

    static func mtu(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.mtu", "Packets of 1280 bytes fit, and no interface expects jumbo frames")
        let odd = facts.interfaces.filter { one in
            one.isOnLAN && one.kind != .tunnel && one.mtu.map { $0 < 1_280 || $0 > 1_500 } ?? false
        }
        return odd.isEmpty
            ? check.ok(facts.interfaces.filter(\.isOnLAN).map { "\($0.name) \($0.mtu.map(String.init) ?? "?")" }.listed)
            : check.warn(
                odd.map { "\($0.name) has an MTU of \($0.mtu.map(String.init) ?? "?")" }.listed,
                fix: "use the same MTU on every host and switch, 1500 where in doubt: ip link set NAME mtu 1500")
    }

    static func virtual(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.virtual", "The way to peers is the LAN, not a container's or a tunnel's network")
        let usable = facts.interfaces.filter(\.isOnLAN)
        let other = usable.filter { [.virtual, .bridge, .tunnel].contains($0.kind) }
        guard !other.isEmpty else { return check.ok("no bridge, container or tunnel interface") }
        let names = other.map(\.name).listed
        return other.count < usable.count
            ? check.ok("beside the LAN there are \(names); peers behind them are found only if they forward multicast")
            : check.warn(
                "there is nothing but \(names): multicast and mDNS rarely pass there",
                fix: "name a host in mcp.seeds, or run with the host's network (docker: --network host)")
    }

    static func overlap(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.overlap", "No two interfaces claim the same network")
        var seen: [(name: String, address: NetworkInterface.Address)] = []
        var clashes: [String] = []
        for one in facts.interfaces where one.isOnLAN {
            for address in one.interface.addresses where !address.address.isLinkLocal {
                let clash = seen.first { other in
                    other.name != one.name
                        && other.address.address.shares(
                            min(other.address.prefixLength, address.prefixLength), with: address.address)
                }
                if let clash {
                    clashes.append("\(clash.name) and \(one.name) (\(address.address)/\(address.prefixLength))")
                }
                seen.append((one.name, address))
            }
        }
        return clashes.isEmpty
            ? check.ok("all differ")
            : check.warn(
                "the same network is on \(clashes.listed)",
                fix: "give one of them another network, or take it down: answers may leave by the wrong one")
    }

    static func linkLocal(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.ipv6", "IPv6 works on the link")
        let usable = facts.interfaces.filter { $0.isOnLAN && $0.kind != .tunnel }
        guard !usable.isEmpty else { return check.skipped("no interface on a LAN") }
        let having = usable.filter { $0.interface.linkLocal != nil }
        return having.isEmpty
            ? check.ok("no link-local address: IPv4 alone is used, which suffices")
            : check.ok("link-local address on \(having.map(\.name).listed)")
    }

    static func wireless(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.wireless", "Wireless networks pass multicast on")
        let wireless = facts.interfaces.filter { $0.isOnLAN && $0.kind == .wireless }
        guard let first = wireless.first else { return check.ok("no wireless interface in use") }
        let lost = subject.daemon != nil && subject.linkedPeers.isEmpty
        let finding = "\(wireless.map(\.name).listed) is wireless: access points may drop or delay multicast"
        return lost
            ? check.warn(
                finding,
                fix: "switch off client isolation on the access point and power saving here (iw dev \(first.name) set"
                    + " power_save off), or name a host in mcp.seeds")
            : check.ok(finding)
    }

    static func snooping(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.snooping", "Bridges of this machine forward multicast")
        let bridges = facts.interfaces.filter { $0.interface.isUp && $0.snoopsWithoutQuerier }
        return bridges.isEmpty
            ? check.ok("no bridge filters it")
            : check.warn(
                "\(bridges.map(\.name).listed) forwards multicast only where it was asked for, and nobody asks",
                fix: bridges.map { "echo 1 > /sys/class/net/\($0.name)/bridge/multicast_querier" }
                    .joined(separator: "; "))
    }

    static func memberships(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("interface.memberships", "The system lets the group be joined on every interface")
        guard let limit = facts.machine.membershipLimit else { return check.skipped("the limit cannot be read") }
        let count = facts.interfaces.count { $0.interface.carriesMulticast }
        return count <= limit
            ? check.ok("\(count) of at most \(limit)")
            : check.warn(
                "\(count) interfaces, but a program may join on \(limit)",
                fix: "sysctl net.ipv4.igmp_max_memberships=\(count + 20)")
    }
}
