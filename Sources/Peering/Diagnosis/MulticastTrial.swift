import Core
import Cryptography
import Glibc

/// Sends a datagram to the beacons' group by every interface and listens for it there: what a firewall or a missing
/// driver swallows on this machine is seen at once. Hosts that hear it know the mark and leave it alone.
enum MulticastTrial {
    /// The first bytes; ``BeaconExchange`` passes over them.
    static let mark = Array("IGRP".utf8)
    private static let largest = 1_472
    private static let patience = Duration.milliseconds(700)

    /// Blocks for less than a second.
    static func run(port: Int, interfaces: [NetworkInterface]) -> MulticastFacts {
        var facts = MulticastFacts()
        for family in DatagramSocket.Family.allCases {
            guard let address = MulticastBeacons.groups[family] else { continue }
            do throws(DatagramSocket.Failure) {
                facts.trials += try trials(
                    of: SocketAddress(address, port: port), family, on: interfaces.filter(\.carriesMulticast))
            } catch {
                guard family == .ipv4 else { continue }
                facts.bindFailure = error.description
                facts.holder = Processes.holders(ofUDPPort: port).first
            }
        }
        return facts
    }

    private static func trials(
        of group: SocketAddress, _ family: DatagramSocket.Family, on interfaces: [NetworkInterface]
    ) throws(DatagramSocket.Failure) -> [MulticastFacts.Trial] {
        let listener = try DatagramSocket.listening(to: group)
        let sender = try DatagramSocket.sending(family)
        var trials: [MulticastFacts.Trial] = []
        var marks: [[UInt8]: Int] = [:]
        for interface in interfaces {
            let source = family == .ipv4 ? interface.ipv4 : interface.linkLocal
            // IPv6 on loopback has no link-local address, and nobody needs it.
            guard let source else { continue }
            var trial = MulticastFacts.Trial(
                interface: interface.name, isIPv6: family == .ipv6, isHeard: false, isLargeHeard: false)
            do throws(DatagramSocket.Failure) {
                try listener.join(group.address, on: interface)
                try sender.sendGroups(by: interface, from: family == .ipv4 ? source : nil)
                // Random bytes only tell the trials apart; without them, the interface's own number does.
                let nonce = (try? SecureRandom.bytes(12)) ?? [UInt8](repeating: UInt8(trials.count & 0xFF), count: 12)
                let head = mark + nonce
                marks[head] = trials.count
                try sender.send(head, to: group)
                try sender.send(head + [UInt8](repeating: 0, count: largest - head.count), to: group)
            } catch {
                trial.failure = error.description
            }
            trials.append(trial)
        }
        let deadline = ContinuousClock.now + patience
        while trials.contains(where: { $0.failure == nil && !($0.isHeard && $0.isLargeHeard) }) {
            let left = Int32(clamping: (deadline - .now).wholeMilliseconds)
            guard left > 0 else { break }
            var polled = pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&polled, 1, left) > 0 else { continue }
            while let (bytes, _) = listener.receive(atMost: largest + 1) {
                guard let index = marks[Array(bytes.prefix(mark.count + 12))] else { continue }
                if bytes.count == largest { trials[index].isLargeHeard = true } else { trials[index].isHeard = true }
            }
        }
        return trials
    }
}
