import Core
import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import Peering

@Suite struct LinkFrameTests {
    @Test("What is written is read again, masked or not, whatever its length", arguments: [false, true])
    func roundTrip(isMasked: Bool) throws {
        for count in [0, 1, 7, 8, 9, 125, 126, 127, 1_000, 65_535, 65_536, 300_001] {
            let message = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            var buffer = ByteBuffer()
            LinkFrame.write(.binary, message, isMasked: isMasked, into: &buffer)
            #expect(buffer.readableBytes == count + LinkFrame.headBytes(before: count, isMasked: isMasked))
            let channel = EmbeddedChannel(
                handler: ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: Limits.linkMessageBytes)))
            try channel.writeInbound(buffer)
            let frame = try #require(try channel.readInbound(as: WebSocketFrame.self))
            #expect(frame.fin && frame.opcode == .binary && (frame.maskKey != nil) == isMasked)
            #expect(LinkFrame.content(of: frame) == message)
        }
    }
}
