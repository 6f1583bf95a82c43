import Glibc

/// The wall clock, for what people read; everything else is measured on a monotonic one.
enum WallClock {
    /// Seconds since 1970, a while from now.
    static func seconds(in delay: Duration) -> Int64 { Int64(time(nil)) + delay.wholeSeconds }
}
