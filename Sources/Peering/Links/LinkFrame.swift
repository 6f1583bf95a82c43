import NIOCore
import NIOWebSocket

/// WebSocket frames (RFC 6455 §5.2) of a link, written into one buffer with their neighbours, so that what leaves
/// together makes one TLS record and not three.
enum LinkFrame {
    /// Length of a frame's head before `count` bytes.
    static func headBytes(before count: Int, isMasked: Bool) -> Int {
        let length = count < 126 ? 2 : count <= Int(UInt16.max) ? 4 : 10
        return length + (isMasked ? 4 : 0)
    }

    /// A dialing host masks, as the standard wants of clients.
    static func write(
        _ opcode: WebSocketOpcode, _ content: [UInt8], isMasked: Bool, into buffer: inout ByteBuffer
    ) {
        buffer.writeInteger(0x80 | UInt8(webSocketOpcode: opcode))
        let mark: UInt8 = isMasked ? 0x80 : 0
        if content.count < 126 {
            buffer.writeInteger(mark | UInt8(truncatingIfNeeded: content.count))
        } else if let count = UInt16(exactly: content.count) {
            buffer.writeInteger(mark | 126)
            buffer.writeInteger(count)
        } else {
            buffer.writeInteger(mark | 127)
            buffer.writeInteger(UInt64(clamping: content.count))
        }
        guard isMasked else {
            buffer.writeBytes(content)
            return
        }
        let mask = UInt32.random(in: .min ... .max)
        buffer.writeInteger(mask)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: content.count) { output in
            content.withUnsafeBytes { apply(mask, from: $0, to: output) }
            return content.count
        }
    }

    /// The content of a received frame.
    static func content(of frame: WebSocketFrame) -> [UInt8] {
        guard let key = frame.maskKey else { return Array(frame.data.readableBytesView) }
        let mask = key.reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
        return frame.data.withUnsafeReadableBytes { input in
            [UInt8](unsafeUninitializedCapacity: input.count) { output, count in
                apply(mask, from: input, to: UnsafeMutableRawBufferPointer(output))
                count = input.count
            }
        }
    }

    /// Eight bytes at a time. `output` has room for all of `input`.
    private static func apply(
        _ mask: UInt32, from input: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer
    ) {
        let wide = (UInt64(mask) << 32 | UInt64(mask)).bigEndian
        var offset = 0
        while offset + 8 <= input.count {
            let word = input.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            output.storeBytes(of: word ^ wide, toByteOffset: offset, as: UInt64.self)
            offset += 8
        }
        while offset < input.count {
            output[offset] = input[offset] ^ UInt8(truncatingIfNeeded: mask >> (24 - 8 * UInt32(offset % 4)))
            offset += 1
        }
    }
}
