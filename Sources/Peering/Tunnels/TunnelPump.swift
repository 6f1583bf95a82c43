import Core
import Metrics
import NIOCore

/// Carries one TCP connection of this machine over one link, both ways, until either ends; then both are closed. What
/// one side does not take, the other is not read further for: nothing piles up here.
struct TunnelPump: Sendable {
    typealias Connection = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    let link: any PeerLink
    let metrics: TunnelMetrics

    func run(_ connection: Connection) async {
        metrics.opened()
        defer { metrics.closed() }
        // A connection that breaks is one that ends: the programs at both ends notice by themselves.
        try? await connection.executeThenClose { inbound, outbound in
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    try? await send(inbound)
                }
                group.addTask {
                    try? await receive(outbound)
                }
                await group.next()
                link.close()
                group.cancelAll()
            }
        }
        link.close()
    }

    private func send(_ inbound: NIOAsyncChannelInboundStream<ByteBuffer>) async throws {
        for try await buffer in inbound {
            // A link has no word for "go on"; where it is fast there is nothing to wait for.
            while link.queuedBytes > Limits.tunnelQueueBytes { try await Task.sleep(for: .milliseconds(1)) }
            metrics.sent.increment(by: buffer.readableBytes)
            link.send(Array(buffer.readableBytesView))
        }
    }

    private func receive(_ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>) async throws {
        for try await message in link.messages() {
            metrics.received.increment(by: message.count)
            try await outbound.write(ByteBuffer(bytes: message))
        }
    }
}

/// What tunnels carry, of both ends together.
final class TunnelMetrics: Sendable {
    let sent = Counter(label: "igris_tunnel_bytes_total", dimensions: [("direction", "sent")])
    let received = Counter(label: "igris_tunnel_bytes_total", dimensions: [("direction", "received")])
    private let connections = Meter(label: "igris_tunnel_connections")
    private let workers: [String: Meter] = [
        "lent": Meter(label: "igris_workers", dimensions: [("role", "lent")]),
        "borrowed": Meter(label: "igris_workers", dimensions: [("role", "borrowed")]),
    ]

    func opened() { connections.increment() }
    func closed() { connections.decrement() }
    func began(_ role: String) { workers[role]?.increment() }
    func ended(_ role: String) { workers[role]?.decrement() }
}
