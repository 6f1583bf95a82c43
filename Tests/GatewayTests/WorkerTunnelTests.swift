import Core
import Logging
import NIOCore
import NIOPosix
import Peering
import Testing

@testable import Gateway

extension PeerTests {
    /// A worker is lent and reached over real links; in its place stands a program that sends everything back.
    @Suite(.timeLimit(.minutes(1))) struct WorkerTunnelTests {
        private typealias Connection = NIOAsyncChannel<ByteBuffer, ByteBuffer>

        @Test("Bytes go both ways, more than any buffer holds, and what is not read stops the sender")
        func bytes() async throws {
            try await withLender(build: "b1") { tunnels, host in
                let result = try await tunnels.borrow(1, of: [host], build: "b1") { workers in
                    #expect(workers.hosts == ["lender"])
                    do {
                        let address = try #require(workers.addresses.first)
                        #expect(address.host == "127.0.0.1")
                        for size in [1, 70_000, Limits.linkQueueBytes + Limits.linkMessageBytes + (4 << 20)] {
                            #expect(try await Self.echo(size, at: address.port), "\(size) bytes")
                        }
                    } catch {
                        Issue.record(error)
                    }
                    return "used"
                }
                #expect(result == "used")
                // It was given back: it can be lent again.
                #expect(try await tunnels.borrow(1, of: [host], build: "b1") { _ in "again" } == "again")
            }
        }

        @Test("Another build, a second borrower and a host that lends nothing are refused by name")
        func refusals() async throws {
            try await withLender(build: "b1") { tunnels, host in
                let error = await #expect(throws: RuntimeError.self) {
                    try await tunnels.borrow(1, of: [host], build: "b2") { _ in "" }
                }
                #expect(error?.message.contains("b1") == true && error?.message.contains("b2") == true)
                #expect(error?.message.contains("host lender") == true)
                _ = try await tunnels.borrow(1, of: [host], build: "b1") { _ in
                    let error = await #expect(throws: RuntimeError.self) {
                        try await tunnels.borrow(1, of: [host], build: "b1") { _ in "" }
                    }
                    #expect(error?.message.contains("already") == true)
                    return ""
                }
            }
            try await withLender(build: nil) { tunnels, host in
                let error = await #expect(throws: RuntimeError.self) {
                    try await tunnels.borrow(1, of: [host], build: "b1") { _ in "" }
                }
                #expect(error?.message.contains("rpc_worker.enabled") == true)
            }
        }

        @Test("Of several hosts those that refuse are passed over")
        func choice() async throws {
            try await withLender(build: "b1") { tunnels, host in
                var absent = host
                absent.node = try nodeID(9)
                absent.name = "absent"
                let names = try await tunnels.borrow(1, of: [absent, host], build: "b1") { workers in
                    workers.hosts.joined()
                }
                #expect(names == "lender")
            }
        }

        @Test("A worker that ends is told to its borrower, with the reason")
        func loss() async throws {
            let (ends, end) = AsyncStream.makeStream(of: Void.self)
            try await withLender(build: "b1", ends: ends) { tunnels, host in
                let reason = try await tunnels.borrow(1, of: [host], build: "b1") { workers in
                    end.yield()
                    for await reason in workers.losses { return reason }
                    return "no reason"
                }
                #expect(reason == "the worker on host lender is lost: its worker is gone: it fell over")
            }
        }

        @Test("An evicted host loses the worker at once, and gets none any more")
        func eviction() async throws {
            try await withLender(build: "b1") { tunnels, host, lender in
                let reason = try await tunnels.borrow(1, of: [host], build: "b1") { workers in
                    await lender.deny([(try? nodeID(2)) ?? host.node])
                    for await reason in workers.losses { return reason }
                    return "no reason"
                }
                #expect(reason.hasPrefix("the worker on host lender is lost"))
                await #expect(throws: RuntimeError.self) {
                    try await tunnels.borrow(1, of: [host], build: "b1") { _ in "" }
                }
            }
        }

        // MARK: - Both sides

        private func withLender(
            build: String?, ends: AsyncStream<Void> = AsyncStream { _ in },
            work: @escaping @Sendable (WorkerTunnels, WorkerHost) async throws -> Void
        ) async throws {
            try await withLender(build: build, ends: ends) { tunnels, host, _ in try await work(tunnels, host) }
        }

        private func withLender(
            build: String?, ends: AsyncStream<Void> = AsyncStream { _ in },
            work: @escaping @Sendable (WorkerTunnels, WorkerHost, any PeerTransport) async throws -> Void
        ) async throws {
            let log = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
            try await withHost(1, in: swarm(1)) { lender in
                let worker = build.map { build in
                    LentWorker(build: { build }, run: { try await Self.runEcho(until: ends, $0) })
                }
                let door = WorkerDoor(transport: lender.transport, worker: worker, log: log)
                let borrower = try LinkTransport(identity: identity(2), primary: swarm(1))
                let host = WorkerHost(name: "lender", node: lender.node, address: lender.address)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { await door.run() }
                    try await work(WorkerTunnels(transport: borrower, log: log), host, lender.transport)
                    group.cancelAll()
                }
            }
        }

        /// Sends back whatever comes, on a port of its own, until it is no longer used or told to end.
        private static func runEcho(
            until ends: AsyncStream<Void>, _ use: @escaping @Sendable (Int) async -> Void
        ) async throws -> String? {
            let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(host: "127.0.0.1", port: 0) { channel in
                    channel.eventLoop.makeCompletedFuture { try Connection(wrappingChannelSynchronously: channel) }
                }
            let port = server.channel.localAddress?.port ?? 0
            return try await server.executeThenClose { connections in
                try await withThrowingTaskGroup(of: String?.self) { group in
                    group.addTask {
                        await use(port)
                        return nil
                    }
                    group.addTask {
                        for await _ in ends { return "it fell over" }
                        try await Task.sleep(for: .seconds(3_600))
                        return "late"
                    }
                    group.addTask {
                        for try await connection in connections {
                            try? await connection.executeThenClose { inbound, outbound in
                                for try await bytes in inbound { try await outbound.write(bytes) }
                            }
                        }
                        try await Task.sleep(for: .seconds(3_600))
                        return "late"
                    }
                    defer { group.cancelAll() }
                    return try await group.next() ?? nil
                }
            }
        }

        /// Whether so many bytes come back as they were sent.
        private static func echo(_ count: Int, at port: Int) async throws -> Bool {
            var bytes = (0..<251).map { UInt8($0) }
            while bytes.count < count { bytes += bytes }
            bytes.removeLast(bytes.count - count)
            let connection = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: port) { channel in
                    channel.eventLoop.makeCompletedFuture { try Connection(wrappingChannelSynchronously: channel) }
                }
            return try await connection.executeThenClose { [bytes] inbound, outbound in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for start in stride(from: 0, to: count, by: 65_536) {
                            try await outbound.write(ByteBuffer(bytes: bytes[start..<min(count, start + 65_536)]))
                        }
                    }
                    var received: [UInt8] = []
                    for try await buffer in inbound {
                        received += buffer.readableBytesView
                        if received.count >= count { break }
                    }
                    try await group.waitForAll()
                    return received == bytes
                }
            }
        }
    }
}
