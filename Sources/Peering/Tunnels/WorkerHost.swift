package import Core

/// A host that may have a worker for us.
package struct WorkerHost: Hashable, Sendable {
    package var name: String
    package var node: NodeID
    package var address: NetworkAddress

    package init(name: String, node: NodeID, address: NetworkAddress) {
        self.name = name
        self.node = node
        self.address = address
    }

    /// The hosts to ask, all that a wish names, or those that any worker may come from, the nearest first. Throws
    /// ``RuntimeError`` when there cannot be enough of them.
    package static func candidates(for wish: WorkerWish, among reports: [HostReport]) throws(RuntimeError)
        -> [WorkerHost]
    {
        let others = reports.filter { !$0.isSelf }
        switch wish {
        case .named(let names):
            var hosts: [WorkerHost] = []
            for name in names { hosts.append(try find(name, among: others)) }
            return hosts
        case .any(let count):
            let alive = others.filter { $0.state == .alive }
                .sorted { ($0.roundTrip ?? .seconds(1), $0.name) < ($1.roundTrip ?? .seconds(1), $1.name) }
                .compactMap(WorkerHost.init)
            guard alive.count >= count else {
                throw RuntimeError(
                    .unavailable, "\(count) workers are wanted, and this host sees \(alive.count) others alive")
            }
            return alive
        }
    }

    private static func find(_ name: String, among others: [HostReport]) throws(RuntimeError) -> WorkerHost {
        let called = others.filter { $0.name == name || $0.id?.description == name }
        let members = called.filter(\.state.isMember)
        guard let host = members.first ?? called.first else {
            throw RuntimeError(
                .unavailable, "no host is called \(name); igris-runtime peers lists those that there are")
        }
        guard members.count < 2 else {
            throw RuntimeError(
                .configuration, "two hosts are called \(name); write the id of one of them, or change node.name")
        }
        guard host.state == .alive, let found = WorkerHost(host) else {
            let why = host.whyNot.map { ": \($0)" } ?? ""
            throw RuntimeError(.unavailable, "host \(name), whose worker it needs, is \(host.state.rawValue)\(why)")
        }
        return found
    }

    private init?(_ report: HostReport) {
        guard let node = report.id else { return nil }
        self.init(name: report.name, node: node, address: report.address)
    }
}
