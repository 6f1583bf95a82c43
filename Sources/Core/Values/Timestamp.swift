import Glibc

/// A moment of the wall clock, printed as RFC 3339 in UTC with milliseconds.
package struct Timestamp: Hashable, Sendable, CustomStringConvertible {
    /// Since 1970.
    package var milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }
    package init(since1970 milliseconds: UInt64) { self.milliseconds = Int64(clamping: milliseconds) }

    package static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    /// RFC 3339 with or without a fraction, in UTC or with an offset. Nil for anything else.
    package init?(rfc3339 text: some StringProtocol) {
        var rest = text.utf8.map { $0 }[...]
        func number(_ digits: Int, _ range: ClosedRange<Int64>) -> Int64? {
            guard rest.count >= digits, rest.prefix(digits).allSatisfy({ (0x30...0x39).contains($0) }) else {
                return nil
            }
            let value = rest.prefix(digits).reduce(0 as Int64) { $0 * 10 + Int64($1 - 0x30) }
            rest = rest.dropFirst(digits)
            return range.contains(value) ? value : nil
        }
        func taken(_ characters: String) -> UInt8? {
            guard let first = rest.first, characters.utf8.contains(first) else { return nil }
            return rest.popFirst()
        }
        guard let year = number(4, 1_970...9_999), taken("-") != nil, let month = number(2, 1...12), taken("-") != nil,
            let day = number(2, 1...31), taken("Tt ") != nil, let hour = number(2, 0...23), taken(":") != nil,
            let minute = number(2, 0...59), taken(":") != nil, let second = number(2, 0...60)
        else { return nil }
        var fraction: Int64 = 0
        if taken(".") != nil {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard !digits.isEmpty else { return nil }
            fraction = (digits.prefix(3) + [0x30, 0x30]).prefix(3).reduce(0) { $0 * 10 + Int64($1 - 0x30) }
            rest = rest.dropFirst(digits.count)
        }
        var offset: Int64 = 0
        guard let sign = taken("Zz+-") else { return nil }
        if sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
            guard let hours = number(2, 0...23), taken(":") != nil, let minutes = number(2, 0...59) else { return nil }
            offset = (hours * 60 + minutes) * (sign == UInt8(ascii: "+") ? 60 : -60)
        }
        guard rest.isEmpty else { return nil }
        // Days of the proleptic Gregorian calendar, the year beginning with March (Howard Hinnant, chrono dates).
        let (y, m) = month > 2 ? (year, month - 3) : (year - 1, month + 9)
        let days =
            y / 400 * 146_097 + (y % 400 * 365 + y % 400 / 4 - y % 400 / 100) + (153 * m + 2) / 5 + day - 1 - 719_468
        milliseconds = (((days * 24 + hour) * 60 + minute) * 60 + second - offset) * 1_000 + fraction
    }

    /// `2026-11-21T01:32:35.123Z`
    package var description: String {
        var (seconds, fraction) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        if fraction < 0 {
            seconds -= 1
            fraction += 1000
        }
        var moment = time_t(seconds)
        var parts = tm()
        gmtime_r(&moment, &parts)
        let date =
            "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
        let clock = "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
        return "\(date)T\(clock).\(padded(Int(fraction), 3))Z"
    }

    private func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
