import Core
import Logging
import Testing

@testable import Telemetry

@Suite struct LogRingTests {
    private func line(_ message: String, at milliseconds: Int64 = 1_000, level: Logger.Level = .notice) -> LogLine {
        LogLine(
            time: Timestamp(milliseconds: milliseconds), level: level, label: "igris", message: message,
            fields: [("peer.id", "ab")])
    }

    private func messages(_ page: LogRing.Page) -> [String] { page.events.compactMap { $0["message"]?.string } }

    @Test func `What was logged is there, with its fields, and a cursor leads on`() {
        let ring = LogRing()
        for word in ["a", "b", "c"] { ring.add(line(word)) }
        let first = ring.page(after: 0, limit: 2)
        #expect(messages(first) == ["a", "b"] && !first.hasLost)
        #expect(first.events.first?["peer.id"]?.string == "ab" && first.events.first?["level"]?.string == "notice")
        let rest = ring.page(after: first.next, limit: 10)
        #expect(messages(rest) == ["c"])
        let none = ring.page(after: rest.next, limit: 10)
        #expect(none.events.isEmpty && none.next == rest.next)
        #expect(messages(ring.page(after: nil, limit: 2)) == ["b", "c"])
    }

    @Test func `A cursor is a time in microseconds, unique even where the clock stands or goes back`() {
        let ring = LogRing()
        for time in [2_000, 2_000, 1_000] as [Int64] { ring.add(line("x", at: time)) }
        #expect(
            ring.page(after: nil, limit: 9).events.compactMap { $0["cursor"]?.integer } == [
                2_000_000, 2_000_001, 2_000_002,
            ])
        #expect(ring.page(after: 1_500_000, limit: 9).events.count == 3)
    }

    @Test func `It stays within its bounds, and says that something has gone`() {
        let ring = LogRing(countLimit: 100, byteLimit: 4_000)
        for number in 0..<10_000 { ring.add(line("event \(number)", at: Int64(number))) }
        let page = ring.page(after: 1, limit: 1_000)
        #expect(page.hasLost && page.events.count < 100 && messages(page).last == "event 9999")
        #expect(!ring.page(after: page.next, limit: 10).hasLost)
    }

    @Test func `A line longer than the ring is kept, alone`() {
        let ring = LogRing(byteLimit: 1_000)
        ring.add(line("before"))
        ring.add(line(String(repeating: "x", count: 2_000)))
        #expect(ring.page(after: nil, limit: 9).events.count == 1)
    }
}
