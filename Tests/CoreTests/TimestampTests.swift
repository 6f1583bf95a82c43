import Core
import Testing

@Suite struct TimestampTests {
    @Test(
        "RFC 3339 is read, whatever the offset and the fraction",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2026-11-21T01:32:35.123Z", 1_795_224_755_123),
            ("2026-11-21t02:32:35.1239+01:00", 1_795_224_755_123), ("2026-11-20 20:02:35.1-05:30", 1_795_224_755_100),
            ("2024-02-29T23:59:60Z", 1_709_251_200_000), ("2000-03-01T00:00:00Z", 951_868_800_000),
        ] as [(String, Int64)])
    func reads(text: String, milliseconds: Int64) {
        #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
    }

    @Test(
        "What is no such time is refused",
        arguments: [
            "", "now", "2026-11-21", "2026-11-21T01:32Z", "2026-13-21T01:32:35Z", "2026-11-21T25:32:35Z",
            "2026-11-21T01:32:35", "2026-11-21T01:32:35.Z", "2026-11-21T01:32:35Zx", "2026-11-21T01:32:35+1:00",
            "99999-11-21T01:32:35Z", "２026-11-21T01:32:35Z",
        ])
    func refuses(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test("What is written is read again")
    func roundTrip() {
        for milliseconds in stride(from: 0 as Int64, to: 4_000_000_000_000, by: 7_919_123_457) {
            let time = Timestamp(milliseconds: milliseconds)
            #expect(Timestamp(rfc3339: time.description) == time)
        }
    }
}
