import CCompression
import Core
import Glibc

/// What unpacking gzip needs of zlib, found at run time: nothing is linked.
struct ZlibLibrary: Sendable {
    private typealias Stream = igris_zlib_stream

    private static let end: Int32 = 1
    private static let ok: Int32 = 0
    private static let bufferError: Int32 = -5
    /// The largest window, and gzip's header and checksum only.
    private static let gzipWindow: Int32 = 15 + 16

    private let begin:
        @convention(c) (UnsafeMutablePointer<igris_zlib_stream>, Int32, UnsafePointer<CChar>, Int32) -> Int32
    private let inflate: @convention(c) (UnsafeMutablePointer<igris_zlib_stream>, Int32) -> Int32
    private let finish: @convention(c) (UnsafeMutablePointer<igris_zlib_stream>) -> Int32

    /// Nil where the library is not installed.
    static let shared = ZlibLibrary()

    private init?() {
        guard let handle = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL), let begin = dlsym(handle, "inflateInit2_"),
            let inflate = dlsym(handle, "inflate"), let finish = dlsym(handle, "inflateEnd")
        else { return nil }
        self.begin = unsafeBitCast(
            begin,
            to: (@convention(c) (UnsafeMutablePointer<igris_zlib_stream>, Int32, UnsafePointer<CChar>, Int32) -> Int32)
                .self)
        self.inflate = unsafeBitCast(
            inflate, to: (@convention(c) (UnsafeMutablePointer<igris_zlib_stream>, Int32) -> Int32).self)
        self.finish = unsafeBitCast(
            finish, to: (@convention(c) (UnsafeMutablePointer<igris_zlib_stream>) -> Int32).self)
    }

    /// Exactly one gzip member; nil for anything else.
    func unpack(_ packed: [UInt8], atMost bound: Int) throws(RuntimeError) -> [UInt8]? {
        guard let length = UInt32(exactly: packed.count) else { return nil }
        var stream = Stream()
        guard begin(&stream, Self.gzipWindow, "1", Int32(MemoryLayout<Stream>.size)) == Self.ok else { return nil }
        defer { _ = finish(&stream) }
        var unpacked = UnpackedBytes(atMost: bound)
        stream.avail_in = length
        var consumed = 0
        while true {
            var result = Self.ok
            let rest = packed.count - consumed
            let count = try unpacked.add { room in
                packed.withUnsafeBufferPointer { input in
                    guard let base = input.baseAddress, let output = room.baseAddress else { return 0 }
                    stream.next_in = base + consumed
                    stream.avail_in = UInt32(clamping: rest)
                    stream.next_out = output
                    stream.avail_out = UInt32(clamping: room.count)
                    result = inflate(&stream, 0)
                    return room.count - Int(stream.avail_out)
                }
            }
            consumed = packed.count - Int(stream.avail_in)
            if result == Self.end { return consumed == packed.count ? unpacked.bytes : nil }
            guard result == Self.ok || result == Self.bufferError else { return nil }
            // Neither taken nor given: the rest is missing.
            if count == 0, packed.count - consumed == rest { return nil }
        }
    }
}
