package import Core
package import Logging
import NIOCore

/// Borrows workers of other hosts, and gives each an address on this machine's loopback.
package struct WorkerTunnels: Sendable {
    private let transport: any PeerTransport
    private let log: Logger
    private let metrics = TunnelMetrics()

    package init(transport: any PeerTransport, log: Logger) {
        self.transport = transport
        self.log = log
    }

    /// One worker that is ours for now.
    private struct Loan: Sendable {
        var host: WorkerHost
        var id: Bytes16
        /// Its end is the loan's.
        var link: any PeerLink
        var listener: Loopback.Listener
        var address: NetworkAddress
    }

    /// Borrows `count` workers of `hosts`, which are asked in their order, for as long as `use` runs. Throws
    /// ``RuntimeError`` when they cannot be had: `use` was not called then.
    package func borrow(
        _ count: Int, of hosts: [WorkerHost], build: String,
        use: @escaping @Sendable (BorrowedWorkers) async -> String
    ) async throws -> String {
        let loans = try await loans(count, of: hosts, build: build)
        for _ in loans { metrics.began("borrowed") }
        defer { for _ in loans { metrics.ended("borrowed") } }
        let (losses, lost) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingOldest(1))
        let workers = BorrowedWorkers(
            hosts: loans.map(\.host.name), addresses: loans.map(\.address), losses: losses)
        return await withTaskGroup(of: String?.self) { group in
            group.addTask { await use(workers) }
            for loan in loans {
                group.addTask {
                    let reason = await Heartbeat.keep(loan.link)
                    if !Task.isCancelled { lost.yield("the worker on host \(loan.host.name) is lost: \(reason)") }
                    return nil
                }
                group.addTask {
                    await accept(loan)
                    return nil
                }
            }
            var result = ""
            for await ended in group {
                guard let ended else { continue }
                result = ended
                break
            }
            for loan in loans { loan.link.close() }
            group.cancelAll()
            return result
        }
    }

    private func loans(_ count: Int, of hosts: [WorkerHost], build: String) async throws -> [Loan] {
        var loans: [Loan] = []
        var refusals: [String] = []
        for host in hosts where loans.count < count {
            do {
                loans.append(try await loan(of: host, build: build))
            } catch {
                for loan in loans where error is CancellationError { await giveBack(loan) }
                if error is CancellationError { throw error }
                refusals.append("host \(host.name): \(Self.reason(error))")
            }
        }
        guard loans.count == count else {
            for loan in loans { await giveBack(loan) }
            throw RuntimeError(
                .unavailable,
                "\(loans.count) of \(count) workers on other hosts can be had. \(refusals.joined(separator: "; "))")
        }
        return loans
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as RuntimeError: error.message
        case let error as LinkFailure: error.message
        default: "the connection with it broke"
        }
    }

    private func loan(of host: WorkerHost, build: String) async throws -> Loan {
        let link = try await transport.open(.tunnel, to: host.node, at: host.address)
        do {
            link.send(TunnelMessage.want(build: build).encoded)
            guard case .lent(let id) = try await answer(on: link, within: Limits.workerStart) else {
                throw RuntimeError(.corrupt, "it answers what was not asked")
            }
            let listener = try await Loopback.listen()
            let port = listener.channel.localAddress?.port ?? 0
            return Loan(
                host: host, id: id, link: link, listener: listener,
                address: NetworkAddress(host: Loopback.host, port: port))
        } catch {
            link.close()
            throw error
        }
    }

    private func giveBack(_ loan: Loan) async {
        loan.link.close()
        try? await loan.listener.executeThenClose { _ in }  // closed already is as good
    }

    private func answer(on link: any PeerLink, within patience: Duration) async throws -> TunnelMessage {
        let message = try await TunnelMessage.next(on: link, within: patience)
        if case .refused(let reason) = message { throw RuntimeError(.unavailable, reason) }
        return message
    }

    /// Connections of our own child, until the task is cancelled.
    private func accept(_ loan: Loan) async {
        // A listener that breaks shows as connections that fail.
        try? await loan.listener.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await accepted in connections {
                    guard let connection = accepted.take() else { continue }
                    group.addTask { await carry(connection, loan) }
                }
            }
        }
    }

    private func carry(_ connection: TunnelPump.Connection, _ loan: Loan) async {
        guard Loopback.isOurs(connection) else {
            log.warning("another user of this machine was kept from a worker")
            return await connection.drop()
        }
        do {
            let link = try await connect(loan)
            await TunnelPump(link: link, metrics: metrics).run(connection)
        } catch {
            log.notice(
                "a tunnel could not be opened",
                metadata: ["peer.name": "\(loan.host.name)", "reason": "\(Self.reason(error))"])
            await connection.drop()
        }
    }

    private func connect(_ loan: Loan) async throws -> any PeerLink {
        let link = try await transport.open(.tunnel, to: loan.host.node, at: loan.host.address)
        do {
            link.send(TunnelMessage.connect(loan.id).encoded)
            guard case .connected = try await answer(on: link, within: Limits.tunnelAnswer) else {
                throw RuntimeError(.corrupt, "it answers what was not asked")
            }
            return link
        } catch {
            link.close()
            throw error
        }
    }
}
