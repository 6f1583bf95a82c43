import Core
import Node
import Swarm

/// Two hosts with links in memory: messages travel in order, through tasks of their own.
final class Pair: Sendable {
    let a: World
    let b: World
    private let cables = Record<AsyncStream<[UInt8]>.Continuation>()

    static let nodes = [NodeID(Bytes16(high: 1, low: 1)), NodeID(Bytes16(high: 1, low: 2))]

    init(_ a: World, _ b: World) {
        self.a = a
        self.b = b
    }

    static func make(
        _ first: any ContextStore = MemoryStore(node: nodes[0]),
        _ second: any ContextStore = MemoryStore(node: nodes[1]),
        durability: LogWriter.Durability = .first
    ) async -> Pair {
        Pair(
            await World(first, node: nodes[0], durability: durability),
            await World(second, node: nodes[1], durability: durability))
    }

    func link() async {
        await Self.connect(a, b, cables)
        await Self.connect(b, a, cables)
    }

    func unlink() async {
        for cable in cables.all { cable.finish() }
        await a.writer.unlinked(b.node.id)
        await b.writer.unlinked(a.node.id)
    }

    private static func connect(_ from: World, _ to: World, _ cables: Record<AsyncStream<[UInt8]>.Continuation>) async {
        let (stream, cable) = AsyncStream<[UInt8]>.makeStream()
        cables.append(cable)
        Task { for await message in stream { _ = await to.writer.received(message, from: from.node.id) } }
        await from.writer.linked(to.node.id, send: { cable.yield($0) }, queued: { 0 })
    }

    /// Both ticking, as the daemon does, while `body` runs.
    func ticking(_ body: @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await self.a.writer.run() }
            group.addTask { await self.b.writer.run() }
            try await body()
            group.cancelAll()
        }
    }

    /// Returns once both stores hold the same.
    func agree() async {
        while true {
            let (left, right) = (await a.writer.digest, await b.writer.digest)
            if left == right { return }
            // Nothing tells when two hosts agree; to ask without a pause would take the processor from what they do.
            try? await Task.sleep(for: .milliseconds(2))  // cancelled: the test is over
            if Task.isCancelled { return }
        }
    }
}
