package import Core
import Dispatch
import Glibc

/// What came of a TCP connection that was tried.
package enum ConnectOutcome: Hashable, Sendable {
    case reached
    /// The host is there; nobody listens at the port, or a firewall rejects.
    case refused
    /// No route to it.
    case unreachable
    /// Nothing came back: the usual mark of a firewall that drops.
    case timedOut
    /// Not tried: the address is none that this host would connect to for another.
    case notTried

    var code: UInt8 {
        switch self {
        case .reached: 1
        case .refused: 2
        case .unreachable: 3
        case .timedOut: 4
        case .notTried: 5
        }
    }

    init(code: UInt8) throws(RuntimeError) {
        switch code {
        case 1: self = .reached
        case 2: self = .refused
        case 3: self = .unreachable
        case 4: self = .timedOut
        case 5: self = .notTried
        default: throw RuntimeError(.corrupt, "an outcome \(code) is not known")
        }
    }

    var words: String {
        switch self {
        case .reached: "reached"
        case .refused: "refused"
        case .unreachable: "no route"
        case .timedOut: "no answer"
        case .notTried: "not tried"
        }
    }
}

/// Tries TCP connections, all at once, and closes them again.
package enum ConnectProbe {
    private static let queue = DispatchQueue(label: "igris.connect", attributes: .concurrent)

    /// In the order of `addresses`, which must be IP addresses.
    package static func connect(
        to addresses: [NetworkAddress], patience: Duration = .seconds(2)
    ) async -> [ConnectOutcome] {
        await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: run(addresses, patience)) }
        }
    }

    private static func run(_ addresses: [NetworkAddress], _ patience: Duration) -> [ConnectOutcome] {
        var outcomes = [ConnectOutcome](repeating: .timedOut, count: addresses.count)
        var open: [(index: Int, descriptor: Int32)] = []
        for (index, address) in addresses.enumerated() {
            switch begin(address) {
            case .success(let descriptor): open.append((index, descriptor))
            case .failure(let failure): outcomes[index] = failure.outcome
            }
        }
        defer { for one in open { close(one.descriptor) } }
        let deadline = ContinuousClock.now + patience
        while !open.isEmpty {
            let left = Int32(clamping: (deadline - .now).wholeMilliseconds)
            var polled = open.map { pollfd(fd: $0.descriptor, events: Int16(POLLOUT), revents: 0) }
            guard left > 0 else { break }
            if poll(&polled, nfds_t(polled.count), left) < 0, errno != EINTR { break }
            for (one, state) in zip(open, polled) where state.revents != 0 {
                outcomes[one.index] = result(of: one.descriptor)
                close(one.descriptor)
            }
            open = zip(open, polled).filter { $0.1.revents == 0 }.map(\.0)
        }
        return outcomes
    }

    private struct Failed: Error { let outcome: ConnectOutcome }

    private static func begin(_ address: NetworkAddress) -> Result<Int32, Failed> {
        guard let host = ScopedAddress(address.host) else { return .failure(Failed(outcome: .notTried)) }
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(host.isIPv6 ? AF_INET6 : AF_INET, kind, 0)
        guard descriptor >= 0 else { return .failure(Failed(outcome: .notTried)) }
        let code = SocketAddress(host, port: address.port).withSystem { Glibc.connect(descriptor, $0, $1) }
        if code == 0 || errno == EINPROGRESS { return .success(descriptor) }
        let outcome = outcome(of: errno)
        close(descriptor)
        return .failure(Failed(outcome: outcome))
    }

    private static func result(of descriptor: Int32) -> ConnectOutcome {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else { return .unreachable }
        return code == 0 ? .reached : outcome(of: code)
    }

    private static func outcome(of code: Int32) -> ConnectOutcome {
        switch code {
        case ECONNREFUSED: .refused
        case ETIMEDOUT: .timedOut
        default: .unreachable
        }
    }
}

extension PeerDoctor {
    /// What this host answers to a peer's doctor. Tried are addresses of private ranges and the one the peer is linked
    /// from: a member of the swarm must not make this host a port scanner of the Internet.
    package static func answer(
        _ question: DiagnosisQuestion, from linked: NetworkAddress, heard: [DiagnosisAnswer.Heard], version: String
    ) async -> DiagnosisAnswer {
        let tried = question.addresses.prefix(DiagnosisMessage.mostAddresses).map { address in
            let host = ScopedAddress(address.host)
            // Loopback here is not the asker's.
            let isAllowed = host.map { ($0.isPrivate && !$0.isLoopback) || address.host == linked.host } ?? false
            return (address: address, isAllowed: isAllowed)
        }
        let outcomes = await ConnectProbe.connect(to: tried.filter(\.isAllowed).map(\.address))
        var rest = outcomes[...]
        let reached = tried.map { one in
            DiagnosisAnswer.Reached(
                address: one.address, outcome: one.isAllowed ? rest.popFirst() ?? .notTried : .notTried)
        }
        return DiagnosisAnswer(reached: reached, heard: heard, clock: WallClock.now, version: version)
    }
}
