import Core
import Glibc

/// What the store is told of the machine; tests tell it other things.
struct StoreEnvironment: Sendable {
    /// The kernel's present boot.
    var bootID: [UInt8]
    /// Since 1970.
    var seconds: UInt64
    /// Taken when a store is made. A message of 200 bytes costs 343, 334 and 340 bytes with all its indexes at 4, 8
    /// and 16 KiB; one of 1 or 2 KiB wastes much of a smaller page, and a larger one is written whole for each change
    /// of an index.
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
