package import Core
package import Logging

/// Where other hosts of the swarm ask for this one's worker, and where their connections with it arrive. The shell of
/// ``LoanBook``. Whoever gets this far holds the swarm's key; who is evicted loses the link, and with it the worker.
package actor WorkerDoor {
    private let transport: any PeerTransport
    /// Nil where this host lends none.
    private let worker: LentWorker?
    private let log: Logger
    private let metrics = TunnelMetrics()
    private var book = LoanBook()
    private var links = 0

    package init(transport: any PeerTransport, worker: LentWorker?, log: Logger) {
        self.transport = transport
        self.worker = worker
        self.log = log
    }

    /// Until the task is cancelled, which ends the worker.
    package func run() async {
        await withDiscardingTaskGroup { group in
            for await link in transport.accepted(for: .tunnel) {
                guard links < Limits.tunnels else {
                    link.close()
                    continue
                }
                links += 1
                group.addTask { await self.serve(link) }
            }
        }
    }

    private func serve(_ link: any PeerLink) async {
        defer {
            link.close()
            links -= 1
        }
        do {
            switch try await TunnelMessage.next(on: link, within: Limits.tunnelAnswer) {
            case .want(let build): try await lend(to: link, build)
            case .connect(let loan): try await connect(link, loan)
            case .lent, .connected, .refused, .beat:
                throw RuntimeError(.corrupt, "a tunnel begins with what is wanted")
            }
        } catch is CancellationError {
            // This host stops: the other side sees the link end.
        } catch {
            let reason = (error as? RuntimeError)?.message ?? "its worker cannot be connected with"
            log.notice(
                "a tunnel was refused", metadata: ["peer.id": "\(link.peer.node)", "reason": "\(reason)"])
            link.send(TunnelMessage.refused(reason).encoded)
        }
    }

    private func lend(to link: any PeerLink, _ theirs: String) async throws {
        guard let worker else {
            throw RuntimeError(.forbidden, "it lends no worker; set rpc_worker.enabled to true in its configuration")
        }
        let ours = try await worker.build()
        let loan = Bytes16(high: .random(in: .min ... .max), low: .random(in: .min ... .max))
        try book.lend(loan, to: link.peer.node, theirs: theirs, ours: ours)
        metrics.began("lent")
        defer {
            book.returned(loan)
            metrics.ended("lent")
        }
        let peer = "\(link.peer.node)"
        log.notice("the worker is lent", metadata: ["peer.id": "\(peer)", "worker.build": "\(ours)"])
        let failure = try await worker.run { port in
            await self.listens(loan, at: port)
            link.send(TunnelMessage.lent(loan).encoded)
            let reason = await Heartbeat.keep(link)
            self.log.notice("the worker is given back", metadata: ["peer.id": "\(peer)", "reason": "\(reason)"])
        }
        if let failure { throw RuntimeError(.engineFailed, "its worker is gone: \(failure)") }
    }

    private func listens(_ loan: Bytes16, at port: Int) { book.listens(loan, at: port) }

    private func connect(_ link: any PeerLink, _ loan: Bytes16) async throws {
        guard let port = book.port(of: loan, for: link.peer.node) else {
            throw RuntimeError(.forbidden, "it has not lent its worker for this connection")
        }
        let connection = try await Loopback.connect(port: port)
        link.send(TunnelMessage.connected.encoded)
        await TunnelPump(link: link, metrics: metrics).run(connection)
    }
}
