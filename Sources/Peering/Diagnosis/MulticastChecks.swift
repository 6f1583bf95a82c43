import Core

/// The way of the beacons.
enum MulticastChecks {
    static let all: [PeerDoctor.Check] = [
        port, loop, loopIPv6, large, membership, route, sent, received, refused, channel,
    ]

    static func port(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.port", "The beacons' port can be listened on")
        guard subject.multicast else { return check.skipped("mcp.multicast is off") }
        guard let trial = facts.multicast else { return check.skipped("the trial took too long") }
        guard let failure = trial.bindFailure else { return check.ok("UDP port \(subject.multicastPort)") }
        let holder = trial.holder.map { "\($0) holds UDP port \(subject.multicastPort) for itself" }
        return check.fail(
            holder ?? failure,
            fix: "end that program (ss -ulpn 'sport = :\(subject.multicastPort)'), or set mcp.multicast_port to another"
                + " port on every host")
    }

    static func loop(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.loop", "A beacon sent here is heard here")
        guard subject.multicast else { return check.skipped("mcp.multicast is off") }
        guard let trial = facts.multicast, trial.bindFailure == nil else { return check.skipped("nothing was sent") }
        let trials = trial.trials.filter { !$0.isIPv6 }
        guard !trials.isEmpty else {
            return check.fail("no interface carries multicast", fix: "connect this machine to a network")
        }
        let deaf = trials.filter { !$0.isHeard }
        guard !deaf.isEmpty else { return check.ok("on \(trials.map(\.interface).listed)") }
        let found = deaf.map { one in one.failure.map { "\(one.interface) (\($0))" } ?? one.interface }.listed
        return check.fail(
            "not heard on \(found)",
            fix: "let UDP port \(subject.multicastPort) to 239.255.42.99 pass this machine's firewall, in and out")
    }

    static func loopIPv6(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.loop_ipv6", "A beacon sent over IPv6 is heard here")
        guard subject.multicast else { return check.skipped("mcp.multicast is off") }
        let trials = facts.multicast?.trials.filter(\.isIPv6) ?? []
        guard !trials.isEmpty else { return check.skipped("no interface has a link-local address") }
        let deaf = trials.filter { !$0.isHeard }
        return deaf.isEmpty
            ? check.ok("on \(trials.map(\.interface).listed)")
            : check.warn(
                "not heard on \(deaf.map(\.interface).listed)",
                fix:
                    "let UDP port \(subject.multicastPort) over IPv6 pass this machine's firewall; IPv4 is used meanwhile"
            )
    }

    static func large(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.large", "A datagram of 1472 bytes passes")
        let heard = facts.multicast?.trials.filter { !$0.isIPv6 && $0.isHeard } ?? []
        guard !heard.isEmpty else { return check.skipped("not even a small one was heard") }
        let lost = heard.filter { !$0.isLargeHeard }
        return lost.isEmpty
            ? check.ok("on \(heard.map(\.interface).listed)")
            : check.warn(
                "lost on \(lost.map(\.interface).listed)", fix: "see interface.mtu; something drops large packets")
    }

    static func membership(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.membership", "The daemon listens to the group on every interface")
        guard subject.multicast, subject.daemon != nil else {
            return check.skipped(subject.multicast ? "the daemon does not run" : "mcp.multicast is off")
        }
        let lacking = facts.interfaces.filter {
            $0.interface.carriesMulticast && $0.interface.ipv4 != nil && !$0.hasJoinedGroup
        }
        return lacking.isEmpty
            ? check.ok("239.255.42.99 is joined")
            : check.warn(
                "not joined on \(lacking.map(\.name).listed)",
                fix: "wait 5 s after an interface came up; if it stays, restart igris-runtime")
    }

    static func route(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.route", "Beacons have a way out")
        return facts.machine.groupRoutes.isEmpty
            ? check.ok("no route leads to 239.255.42.99; none is needed, since beacons name their interface")
            : check.ok("by \(facts.machine.groupRoutes.listed)")
    }

    static func sent(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.sent", "This host sends beacons")
        guard subject.multicast else { return check.skipped("mcp.multicast is off") }
        guard let status = subject.status(.multicast) else { return check.skipped("the daemon does not run") }
        guard let last = status.lastSent else {
            return check.fail("none was sent: \(status.detail)", fix: "see multicast.port and interface.present")
        }
        let age = Age(last, now: facts.clock)
        return age.seconds <= 30
            ? check.ok("\(status.sent) so far, the last \(age) ago")
            : check.warn("the last left \(age) ago, though every 10 s one is due", fix: "see multicast.loop")
    }

    static func received(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.received", "Others' beacons are heard")
        guard subject.multicast else { return check.skipped("mcp.multicast is off") }
        guard let status = subject.status(.multicast) else { return check.skipped("the daemon does not run") }
        guard let last = status.lastReceived else {
            return check.warn(
                "none was ever heard",
                fix: "start igris-runtime on another host of this LAN with mcp.multicast on and the same"
                    + " mcp.multicast_port; on switches, allow multicast (IGMP snooping without a querier drops it)")
        }
        let age = Age(last, now: facts.clock)
        return age.seconds <= 40
            ? check.ok("\(status.received) so far, the last \(age) ago")
            : check.warn(
                "the last was heard \(age) ago", fix: "see whether the other hosts run, and what their doctors say")
    }

    static func refused(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.refused", "Nobody sends forged or broken beacons")
        guard let status = subject.status(.multicast) else { return check.skipped("the daemon does not run") }
        // A stray datagram now and then is nobody's trouble.
        return status.refused * 20 <= status.received
            ? check.ok("\(status.refused) thrown away, \(status.received) good ones")
            : check.warn(
                "\(status.refused) datagrams were thrown away: not authentic, of another version, or too many",
                fix: "use the same version on all hosts; find other senders with tcpdump -ni any udp port"
                    + " \(subject.multicastPort)")
    }

    static func channel(_ subject: DoctorSubject, _ facts: LocalFacts) -> DiagnosticCheck {
        let check = Finding("multicast.state", "The multicast channel works")
        guard let status = subject.status(.multicast) else { return check.skipped("the daemon does not run") }
        return switch status.state {
        case .on: check.ok(status.detail)
        case .off: check.skipped(status.detail)
        case .unavailable:
            check.fail(status.detail, fix: "see interface.present and multicast.port; mDNS and seeds stay")
        }
    }
}

/// How long ago something was, for sentences.
struct Age: CustomStringConvertible {
    let seconds: Int

    init(_ then: UInt64, now: UInt64) { seconds = then < now ? Int(clamping: (now - then) / 1_000) : 0 }

    var description: String {
        switch seconds {
        case ..<120: "\(seconds) s"
        case ..<7_200: "\(seconds / 60) min"
        default: "\(seconds / 3_600) h"
        }
    }
}
