import Core
import Synchronization

/// Counts open connections, in all and for each address, so that no one client takes all of them.
final class ConnectionLedger: Sendable {
    private struct State {
        var total = 0
        var byAddress: [IPAddress: Int] = [:]
    }

    private let limits: GatewayLimits
    private let state = Mutex(State())

    init(limits: GatewayLimits) { self.limits = limits }

    /// Counts one more connection. False: there are too many already; it is counted all the same, and leaves as usual.
    func enter(_ address: IPAddress?) -> Bool {
        state.withLock { state in
            state.total += 1
            guard let address, !address.isLoopback else { return state.total <= limits.connections }
            let count = (state.byAddress[address] ?? 0) + 1
            state.byAddress[address] = count
            return state.total <= limits.connections && count <= limits.connectionsPerAddress
        }
    }

    /// As many are open as may be, and so many more who are being told that.
    var isFull: Bool { state.withLock { $0.total >= limits.connections + Limits.surplusConnections } }

    func leave(_ address: IPAddress?) {
        state.withLock { state in
            state.total -= 1
            guard let address, !address.isLoopback, let count = state.byAddress[address] else { return }
            state.byAddress[address] = count > 1 ? count - 1 : nil
        }
    }
}
