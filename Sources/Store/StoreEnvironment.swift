import Core
import Glibc

/// What the store is told of the machine; tests tell it other things.
struct StoreEnvironment: Sendable {
    /// At the start, since 1970.
    var seconds: UInt64
    /// The present, since 1970; nil for a clock that stands still.
    var now: (@Sendable () -> UInt64)?
    /// Taken when a store is made. A message of 200 bytes costs 343, 334 and 340 bytes with all its indexes at 4, 8
    /// and 16 KiB; one of 1 or 2 KiB wastes much of a smaller page, and a larger one is written whole for each change
    /// of an index.
    var pageSize = 8192
    /// How long after the last commit the write-ahead log is emptied.
    var idle = Limits.storeIdle
    /// Where this host's signing key lies, and with it the ``EpochMark``; nil where nothing can be compared.
    var identityFolder: String?
    /// Where the ``KeyAnchor`` of a store lies; nil where there is none.
    var anchorFolder: String?
    /// A folder that does not outlive the machine's uptime, for a second ``EpochMark``; nil where there is none.
    var volatileFolder: String?
    /// Brings a descriptor's file to disk; 0 for success.
    var flush: @Sendable (Int32) -> Int32 = { fdatasync($0) }

    func clock() -> UInt64 { now?() ?? seconds }

    static func current() -> StoreEnvironment {
        let now = { @Sendable () -> UInt64 in
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return UInt64(clamping: time.tv_sec)
        }
        var environment = StoreEnvironment(seconds: now())
        environment.now = now
        environment.volatileFolder = volatileFolder
        return environment
    }

    /// In memory: the user's runtime folder, else the one that every Linux has.
    private static var volatileFolder: String {
        if let folder = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }), folder.hasPrefix("/") {
            return "\(folder)/igris"
        }
        return "/dev/shm/igris-\(geteuid())"
    }
}
