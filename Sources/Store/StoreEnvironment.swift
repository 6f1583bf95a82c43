import Core
import Glibc

/// What the store is told of the machine; tests tell it other things.
struct StoreEnvironment: Sendable {
    /// The kernel's present boot.
    var bootID: [UInt8]
    /// Since 1970.
    var seconds: UInt64
    /// 8 KiB: a message of 1 or 2 KiB wastes least of such a page, and one of 200 bytes no more than of others
    /// (docs: 20,000 messages measured at 4, 8 and 16 KiB). Taken when a store is made.
    var pageSize = 8192
    /// How long after the last commit the write-ahead log is emptied.
    var idle = Limits.storeIdle

    static func current() -> StoreEnvironment {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return StoreEnvironment(bootID: readBootID(), seconds: UInt64(clamping: time.tv_sec))
    }

    /// Empty where the kernel does not tell.
    private static func readBootID() -> [UInt8] {
        let descriptor = Glibc.open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { Glibc.close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 36)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return Array(bytes.prefix(max(0, count)))
    }
}
