import Core
import Cryptography
import NIOCore
import NIOSSL
import Peering
import Testing

@testable import Gateway

extension PeerTests {
    /// What goes over a link, over real sockets.
    @Suite(.timeLimit(.minutes(1))) struct PeerLinkTests {
        @Test("messages of every size arrive whole and in order, both ways at once")
        func sizes() async throws {
            try await withLink { dialed, accepted in
                let sizes = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, Limits.linkMessageBytes, 3]
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (sender, receiver) in [(dialed, accepted), (accepted, dialed)] {
                        group.addTask {
                            for size in sizes { sender.send(pattern(size)) }
                            var messages = receiver.messages().makeAsyncIterator()
                            for size in sizes {
                                let message = try await messages.next()
                                #expect(message == pattern(size), "\(size) bytes")
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(dialed.queuedBytes == 0 && accepted.queuedBytes == 0)
            }
        }

        @Test("forty thousand small messages from four tasks arrive, each task's in order")
        func many() async throws {
            let senders = 4
            let each = 10_000
            try await withLink { dialed, accepted in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for sender in 0..<senders {
                        group.addTask {
                            for number in 0..<each {
                                dialed.send([UInt8(sender)] + Bytes16(high: 0, low: UInt64(number)).bytes)
                            }
                        }
                    }
                    group.addTask {
                        var next = [UInt64](repeating: 0, count: senders)
                        var messages = accepted.messages().makeAsyncIterator()
                        for _ in 0..<senders * each {
                            let message = try #require(try await messages.next())
                            let number = try #require(Bytes16(message.dropFirst())).low
                            let sender = Int(message[0])
                            guard next[sender] == number else {
                                Issue.record("message \(number) of \(sender) came instead of \(next[sender])")
                                return
                            }
                            next[sender] += 1
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }

        @Test("a link for work reaches those who take work, and only the host that was meant")
        func purposes() async throws {
            try await withHost(1, in: swarm(1)) { server in
                let client = try LinkTransport(identity: identity(2), primary: swarm(1))
                let dialed = try await client.open(.work, to: server.node, at: server.address)
                dialed.send([7])
                for await accepted in server.transport.accepted(for: .work) {
                    var messages = accepted.messages().makeAsyncIterator()
                    #expect(try await messages.next() == [7])
                    break
                }
                let failure = await #expect(throws: LinkFailure.self) {
                    _ = try await client.open(.tunnel, to: nodeID(3), at: server.address)
                }
                #expect(failure?.reason == .unreachable)
            }
        }

        @Test("a reader that does not read stops the sender's socket, not its memory; read on, everything is there")
        func slowReader() async throws {
            try await withLink { dialed, accepted in
                let message = pattern(64 * 1024)
                var count = 180
                for _ in 0..<count { dialed.send(message) }
                while accepted.bytesReceived < Limits.linkInboxBytes { await Task.yield() }
                var back = dialed.messages().makeAsyncIterator()
                // How much the system's own buffers hold is its business: they are filled.
                repeat {
                    // The way back is open: each message on it takes both loops round, and what could still come would.
                    for number in 0..<50 {
                        accepted.send([UInt8(number)])
                        #expect(try await back.next() == [UInt8(number)])
                    }
                    if dialed.queuedBytes > 0 { break }
                    for _ in 0..<16 { dialed.send(message) }
                    count += 16
                } while count < 1_000
                #expect(dialed.queuedBytes > 0)
                #expect(accepted.bytesReceived < Limits.linkInboxBytes + 1 << 20)
                var messages = accepted.messages().makeAsyncIterator()
                for _ in 0..<count {
                    let next = try await messages.next()
                    #expect(next == message)
                }
                // The last bytes leave the count when the system has taken them, which this side may hear a moment later.
                while dialed.queuedBytes > 0 { await Task.yield() }
            }
        }

        @Test("a peer that takes nothing for too long loses the link, and both sides hear of it")
        func overflow() async throws {
            try await withLink { dialed, accepted in
                let message = pattern(1 << 20)
                for _ in 0..<40 { dialed.send(message) }
                let failure = await #expect(throws: LinkFailure.self) { for try await _ in dialed.messages() {} }
                #expect(failure?.message.contains("takes in less") == true)
                _ = await #expect(throws: LinkFailure.self) { for try await _ in accepted.messages() {} }
            }
        }

        @Test("what was sent before closing arrives, and then the end")
        func close() async throws {
            try await withLink { dialed, accepted in
                for number in 0..<100 as Range<UInt8> { dialed.send([number]) }
                dialed.close()
                dialed.send([0])
                var received: [[UInt8]] = []
                for try await message in accepted.messages() { received.append(message) }
                #expect(received == (0..<100).map { [UInt8($0)] })
                for try await _ in dialed.messages() {}
            }
        }

        @Test("a peer that is killed is gone without anything being sent, and not in good order")
        func reset() async throws {
            try await withHost(1, in: swarm(1)) { server in
                let member = try membership(identity(2), of: swarm(1))
                try await RawClient.connected(
                    to: server.port,
                    first: { channel in
                        try member(channel)
                        try channel.pipeline.syncOperations.addHandler(CutPoint(), position: .first)
                    }
                ) { client in
                    try await client.send(
                        get(
                            "/v1/swarm/ws",
                            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))
                    let head = try await client.read(through: "\r\n\r\n")
                    #expect(head.hasPrefix("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
                    let link = try await server.nextLink()
                    try await client.reset()
                    _ = await #expect(throws: LinkFailure.self) { for try await _ in link.messages() {} }
                }
            }
        }
    }
}

/// Bytes that are wrong when a single one of them is out of its place.
private func pattern(_ count: Int) -> [UInt8] {
    var bytes = (0..<251).map { UInt8($0) }
    while bytes.count < count { bytes += bytes }
    return Array(bytes.prefix(count))
}
