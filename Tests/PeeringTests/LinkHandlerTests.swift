import Core
import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import Peering

/// The accepting end of a link without a socket.
private struct LinkEnd {
    let channel: EmbeddedChannel
    let inbox = LinkInbox()
    let outbox = LinkOutbox()
    let handler: LinkHandler

    init(isDialed: Bool = false) throws {
        handler = LinkHandler(outbox: outbox, inbox: inbox, traffic: LinkTraffic(), isDialed: isDialed)
        channel = EmbeddedChannel()
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try channel.pipeline.syncOperations.addHandlers(
            ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: Limits.linkMessageBytes)), handler)
    }

    func feed(_ bytes: [UInt8]) {
        // What is fed to a closed end is lost, as it is with sockets.
        if channel.isActive { _ = try? channel.writeInbound(ByteBuffer(bytes: bytes)) }
    }

    /// Everything that was written, as bytes.
    func written() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { bytes += buffer.readableBytesView }
        return bytes
    }

    /// All messages up to the end, which must have come.
    func messages() async throws -> (messages: [[UInt8]], failure: LinkFailure?) {
        var messages: [[UInt8]] = []
        do {
            while let message = try await inbox.next(callForMore: {}) { messages.append(message) }
            return (messages, nil)
        } catch let failure as LinkFailure {
            return (messages, failure)
        }
    }
}

/// One masked frame with a mask of zeros.
private func frame(_ first: UInt8, _ content: [UInt8]) -> [UInt8] {
    [first, 0x80 | UInt8(content.count), 0, 0, 0, 0] + content
}

@Suite(.timeLimit(.minutes(1))) struct LinkHandlerTests {
    struct Violation: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var bytes: [UInt8]
        var code: UInt16
    }

    static let violations = [
        Violation(testDescription: "not masked", bytes: [0x82, 1, 7], code: 1002),
        Violation(testDescription: "a reserved bit", bytes: frame(0xC2, [7]), code: 1002),
        Violation(testDescription: "text", bytes: frame(0x81, [65]), code: 1003),
        Violation(testDescription: "an unknown opcode", bytes: frame(0x83, [65]), code: 1003),
        Violation(testDescription: "a continuation of nothing", bytes: frame(0x80, [7]), code: 1002),
        Violation(testDescription: "a message within another", bytes: frame(0x02, [7]) + frame(0x82, [7]), code: 1002),
        Violation(testDescription: "a fragmented ping", bytes: frame(0x09, [7]), code: 1002),
        Violation(testDescription: "a long ping", bytes: [0x89, 0xFE, 1, 0, 0, 0, 0, 0], code: 1002),
        Violation(
            testDescription: "a frame of 8 MiB and one", bytes: [0x82, 0xFF, 0, 0, 0, 0, 0, 0x80, 0, 1, 0, 0, 0, 0],
            code: 1009),
        Violation(
            testDescription: "a frame of 2^63", bytes: [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], code: 1009),
    ]

    @Test("Whoever breaks the protocol is told the code and cut off", arguments: violations)
    func violation(_ violation: Violation) async throws {
        let end = try LinkEnd()
        end.feed(frame(0x82, [1]))
        end.feed(violation.bytes)
        let code = [UInt8(truncatingIfNeeded: violation.code >> 8), UInt8(truncatingIfNeeded: violation.code)]
        #expect(try end.written() == [0x88, 2] + code)
        #expect(!end.channel.isActive)
        let (messages, failure) = try await end.messages()
        #expect(messages == [[1]])
        #expect(failure?.reason == .closed)
    }

    @Test("Fragments make one message, with pings answered between them; more than a message may hold is refused")
    func fragments() async throws {
        let end = try LinkEnd()
        end.feed(frame(0x02, [1]) + frame(0x00, []) + frame(0x89, [9]) + frame(0x00, [2]) + frame(0x80, [3]))
        #expect(try end.written() == [0x8A, 1, 9])
        end.feed(frame(0x02, [1]))
        let mebibyte = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<8 { end.feed([0x00, 0xFF, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0] + mebibyte) }
        #expect(try end.written() == [0x88, 2, 0x03, 0xF1])
        #expect(try await end.messages().messages == [[1, 2, 3]])
    }

    @Test("A goodbye is answered, and is a good end; a broken connection is not")
    func goodbye() async throws {
        let polite = try LinkEnd()
        polite.feed(frame(0x88, [3, 232]))
        #expect(try polite.written() == [0x88, 2, 3, 232])
        #expect(try await polite.messages().failure == nil)
        let rude = try LinkEnd()
        _ = try rude.channel.finish(acceptAlreadyClosed: true)
        #expect(try await rude.messages().failure?.reason == .closed)
    }

    @Test("Messages that wait together leave together, and closing lets them")
    func coalescing() throws {
        let end = try LinkEnd()
        var answers: [LinkOutbox.Answer] = []
        for byte in 0..<100 as Range<UInt8> { answers.append(end.outbox.put([byte])) }
        #expect(answers.first == .fetch && answers.dropFirst().allSatisfy { $0 == .done })
        #expect(end.outbox.queuedBytes == 100)
        end.handler.drain()
        let buffer = try #require(try end.channel.readOutbound(as: ByteBuffer.self))
        #expect(buffer.readableBytes == 300)
        #expect(try end.channel.readOutbound(as: ByteBuffer.self) == nil)
        #expect(end.outbox.queuedBytes == 0)
        _ = end.outbox.put([7])
        end.handler.leave()
        #expect(try end.written() == [0x82, 1, 7, 0x88, 2, 3, 232])
        #expect(!end.channel.isActive)
    }

    @Test("While the socket takes nothing, what waits is counted, and too much of it ends the link")
    func overflow() throws {
        let end = try LinkEnd()
        end.channel.isWritable = false
        let message = [UInt8](repeating: 0, count: 1 << 20)
        var answers: [LinkOutbox.Answer] = []
        for _ in 0..<20 {
            answers.append(end.outbox.put(message))
            end.handler.drain()
        }
        #expect(try end.written().isEmpty)
        let room = (Limits.linkQueueBytes + Limits.linkMessageBytes) >> 20
        #expect(answers.firstIndex(of: .overflow) == room + 1)
        #expect(answers.filter { $0 == .overflow }.count == 1)
        end.handler.giveUp()
        #expect(end.outbox.queuedBytes == 0)
    }

    @Test("A reader that is behind stops the reading of the socket until it has caught up")
    func backpressure() async throws {
        let reads = ReadCounter()
        let end = try LinkEnd()
        try end.channel.pipeline.syncOperations.addHandler(reads, position: .first)
        let part = [UInt8](repeating: 0, count: 65_000)
        var pushed = 0
        repeat { pushed += 1 } while end.inbox.push(part) && pushed < 100
        end.feed(frame(0x82, [1]))
        end.channel.read()
        #expect(reads.count == 0)
        var waiting = pushed + 1
        var wantsMore = false
        while !wantsMore, waiting > 0 {
            _ = try await end.inbox.next { wantsMore = true }
            waiting -= 1
        }
        #expect(wantsMore && waiting > 0)
        end.handler.readOn()
        #expect(reads.count == 1)
    }

    @Test("Seeded garbage: frames changed, cut and shuffled neither crash the link nor make it grow")
    func fuzz() async throws {
        var arrived = 0
        for seed in 0..<600 as Range<UInt64> {
            var random = Dice(seed)
            let end = try LinkEnd(isDialed: seed % 5 == 0)
            var bytes: [UInt8] = []
            for _ in 0..<random.below(12) + 1 {
                let content = (0..<random.below(120)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                let first = [0x82, 0x82, 0x82, 0x02, 0x80, 0x89, 0x8A, UInt8(random.below(256))][random.below(8)]
                bytes += frame(first, content)
            }
            for _ in 0..<random.below(4) { bytes[random.below(bytes.count)] = UInt8(random.below(256)) }
            if random.below(3) == 0 { bytes.removeLast(random.below(bytes.count)) }
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = min(rest.count, random.below(40) + 1)
                end.feed(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            _ = try? end.channel.finish(acceptAlreadyClosed: true)  // the link may have closed with an error of its own
            let messages = try await end.messages().messages
            #expect(messages.reduce(0) { $0 + $1.count } <= bytes.count, "seed \(seed)")
            arrived += messages.count
        }
        #expect(arrived > 100)
    }
}

private final class ReadCounter: ChannelOutboundHandler {
    typealias OutboundIn = NIOAny
    var count = 0

    func read(context: ChannelHandlerContext) {
        count += 1
        context.read()
    }
}

/// SplitMix64.
private struct Dice {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
