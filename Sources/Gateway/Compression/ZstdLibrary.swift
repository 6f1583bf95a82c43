import CCompression
import Core
import Glibc

/// What unpacking zstd needs of its library, found at run time: nothing is linked.
struct ZstdLibrary: Sendable {
    /// `ZSTD_d_windowLogMax`; 8 MiB.
    private static let window: (parameter: Int32, value: Int32) = (100, 23)

    private let create: @convention(c) () -> OpaquePointer?
    private let set: @convention(c) (OpaquePointer?, Int32, Int32) -> Int
    private let decompress:
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<igris_zstd_output>, UnsafeMutablePointer<igris_zstd_input>
        ) -> Int
    private let isError: @convention(c) (Int) -> UInt32
    private let free: @convention(c) (OpaquePointer?) -> Int

    /// Nil where the library is not installed.
    static let shared = ZstdLibrary()

    private init?() {
        guard let handle = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL), let create = dlsym(handle, "ZSTD_createDCtx"),
            let set = dlsym(handle, "ZSTD_DCtx_setParameter"), let decompress = dlsym(handle, "ZSTD_decompressStream"),
            let isError = dlsym(handle, "ZSTD_isError"), let free = dlsym(handle, "ZSTD_freeDCtx")
        else { return nil }
        self.create = unsafeBitCast(create, to: (@convention(c) () -> OpaquePointer?).self)
        self.set = unsafeBitCast(set, to: (@convention(c) (OpaquePointer?, Int32, Int32) -> Int).self)
        self.decompress = unsafeBitCast(
            decompress,
            to: (@convention(c) (
                OpaquePointer?, UnsafeMutablePointer<igris_zstd_output>, UnsafeMutablePointer<igris_zstd_input>
            ) -> Int).self)
        self.isError = unsafeBitCast(isError, to: (@convention(c) (Int) -> UInt32).self)
        self.free = unsafeBitCast(free, to: (@convention(c) (OpaquePointer?) -> Int).self)
    }

    /// Whole frames; nil for anything else.
    func unpack(_ packed: [UInt8], atMost bound: Int) throws(RuntimeError) -> [UInt8]? {
        guard let context = create() else { return nil }
        defer { _ = free(context) }
        guard isError(set(context, Self.window.parameter, Self.window.value)) == 0 else { return nil }
        var unpacked = UnpackedBytes(atMost: bound)
        var consumed = 0
        while true {
            var hint = 0
            let before = consumed
            let count = try unpacked.add { room in
                packed.withUnsafeBufferPointer { input in
                    var source = igris_zstd_input(bytes: input.baseAddress, size: input.count, position: consumed)
                    var target = igris_zstd_output(bytes: room.baseAddress, size: room.count, position: 0)
                    hint = decompress(context, &target, &source)
                    consumed = source.position
                    return target.position
                }
            }
            guard isError(hint) == 0 else { return nil }
            // 0: a frame is complete and all of it was given.
            if hint == 0, consumed == packed.count { return unpacked.bytes }
            // Neither taken nor given: the rest is missing.
            if count == 0, consumed == before { return nil }
        }
    }
}
