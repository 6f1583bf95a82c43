import Core
import Synchronization

/// Links in memory, and hosts that can be cut off.
final class MemoryTransport: PeerTransport {
    private struct State {
        var hosts: [NodeID: AsyncStream<any PeerLink>.Continuation] = [:]
        var links: [NodeID: [MemoryLink]] = [:]
        var opened = 0
    }

    private let state = Mutex(State())

    /// Where a host takes the links that are opened with it.
    func host(_ node: NodeID) -> AsyncStream<any PeerLink> {
        let (stream, continuation) = AsyncStream<any PeerLink>.makeStream()
        state.withLock { $0.hosts[node] = continuation }
        return stream
    }

    var opened: Int { state.withLock { $0.opened } }

    /// Ends a host: its links break, and it takes no more.
    func kill(_ node: NodeID) {
        let links = state.withLock { state in
            state.hosts[node] = nil
            return state.links.removeValue(forKey: node) ?? []
        }
        for link in links { link.cut() }
    }

    func open(_ purpose: LinkPurpose, to node: NodeID, at address: NetworkAddress) async throws -> any PeerLink {
        let (near, far) = MemoryLink.pair(with: node)
        let isTaken = state.withLock { state in
            state.opened += 1
            guard let host = state.hosts[node] else { return false }
            state.links[node, default: []].append(near)
            host.yield(far)
            return true
        }
        guard isTaken else { throw LinkFailure(.refused, "nobody listens there") }
        return near
    }

    var accepted: AsyncStream<any PeerLink> { AsyncStream { $0.finish() } }
    func accepted(for purpose: LinkPurpose) -> AsyncStream<any PeerLink> { accepted }
    func dial(_ address: NetworkAddress) async throws -> any PeerLink { throw LinkFailure(.refused, "not here") }
    func get(_ path: String, range: Range<Int>?, from address: NetworkAddress, node: NodeID) async throws -> [UInt8] {
        throw LinkFailure(.refused, "not here")
    }
    func deny(_ nodes: Set<NodeID>) async {}
    func use(primary: SwarmAuthority, accepted: [SwarmAuthority]) async throws {}
}

/// One end of a link.
final class MemoryLink: PeerLink {
    let peer: PeerCertificate
    let address = NetworkAddress(host: "127.0.0.1", port: 1)
    let isDialed: Bool
    private let inbox: AsyncThrowingStream<[UInt8], any Error>
    private let incoming: AsyncThrowingStream<[UInt8], any Error>.Continuation
    private let outgoing: AsyncThrowingStream<[UInt8], any Error>.Continuation

    static func pair(with node: NodeID) -> (MemoryLink, MemoryLink) {
        let (a, toA) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
        let (b, toB) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
        return (
            MemoryLink(node, isDialed: true, inbox: a, incoming: toA, outgoing: toB),
            MemoryLink(node, isDialed: false, inbox: b, incoming: toB, outgoing: toA)
        )
    }

    private init(
        _ node: NodeID, isDialed: Bool, inbox: AsyncThrowingStream<[UInt8], any Error>,
        incoming: AsyncThrowingStream<[UInt8], any Error>.Continuation,
        outgoing: AsyncThrowingStream<[UInt8], any Error>.Continuation
    ) {
        peer = PeerCertificate(node: node, publicKey: [], swarm: SwarmID(Bytes16(high: 0, low: 0)))
        self.isDialed = isDialed
        self.inbox = inbox
        self.incoming = incoming
        self.outgoing = outgoing
    }

    var queuedBytes: Int { 0 }
    var bytesSent: Int { 0 }
    var bytesReceived: Int { 0 }
    func send(_ message: [UInt8]) { outgoing.yield(message) }
    func messages() -> AsyncThrowingStream<[UInt8], any Error> { inbox }
    func close() {
        outgoing.finish()
        incoming.finish()
    }
    func cut() {
        outgoing.finish(throwing: LinkFailure(.closed, "cut"))
        incoming.finish(throwing: LinkFailure(.closed, "cut"))
    }
}
