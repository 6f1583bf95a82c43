import Core
import Glibc
import Logging
import Synchronization
import Testing

@testable import Telemetry

@Suite struct LogLineTests {
    /// Keeps the lines that a handler writes.
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        var output: LogOutput {
            LogOutput(
                write: { line in self.lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } },
                isTerminal: false)
        }
    }

    private let lines = Lines()

    private func logger(isText: Bool, level: Logger.Level = .trace, provider: Logger.MetadataProvider? = nil) -> Logger
    {
        Logger(label: "node") { label in
            LineLogHandler(
                label: label, level: level, isText: isText, output: lines.output, metadataProvider: provider,
                now: { Timestamp(milliseconds: 1_795_224_755_042) })
        }
    }

    @Test("A text line has time, level, label, message and sorted metadata")
    func text() {
        var log = logger(isText: true)
        log[metadataKey: "request.id"] = "r1"
        log.notice(
            "a peer left",
            metadata: ["peer": ["id": "p", "rtt_ms": "4"], "a": "two words", "b": "", "list": ["x", "y"]])
        #expect(
            lines.all == [
                "2026-11-21T01:32:35.042Z notice   node: a peer left  a=\"two words\" b=\"\" list=[\"x\",\"y\"] "
                    + "peer.id=p peer.rtt_ms=4 request.id=r1\n"
            ])
    }

    @Test("A JSON line has the same, one object a line")
    func json() {
        let log = logger(isText: false)
        log.error("it \"failed\"\n", metadata: ["peer": ["id": "p"], "message": "taken", "n": "\(7)", "list": ["x"]])
        #expect(
            lines.all == [
                #"{"time":"2026-11-21T01:32:35.042Z","level":"error","label":"node","message":"it \"failed\"\n","#
                    + #""list":["x"],"metadata.message":"taken","n":"7","peer.id":"p"}"# + "\n"
            ])
    }

    @Test("Nothing that is logged can leave its line or reach the terminal", arguments: [true, false])
    func control(isText: Bool) {
        logger(isText: isText).info(
            "a\u{1B}[2J\nb\r\u{9B}c\u{7F}", metadata: ["k\n": "v\u{1B}\u{0}", "l": "one\u{85}two\u{2028}three"])
        let line = lines.all.joined()
        #expect(line.utf8.count(where: { $0 == 0x0A }) == 1 && line.last == "\n")
        #expect(line.dropLast().unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) })
        if isText {
            #expect(
                line.hasSuffix(
                    #"node: a\u001B[2J\u000Ab\u000D\u009Bc\u007F  k\u000A="v\u001b\u0000" l=one\u0085two\u2028three"#
                        + "\n"))
        }
    }

    @Test("The nearer metadata wins, and an error is a field")
    func layers() {
        struct Broken: Error, CustomStringConvertible { let description = "it broke" }
        var log = logger(isText: true, provider: Logger.MetadataProvider { ["a": "task", "b": "task"] })
        log[metadataKey: "a"] = "logger"
        log[metadataKey: "c"] = "logger"
        log.warning("m", error: Broken(), metadata: ["b": "event"])
        #expect(
            lines.all == ["2026-11-21T01:32:35.042Z warning  node: m  a=task b=event c=logger error=\"it broke\"\n"])
    }

    @Test("What is below the level is not written")
    func level() {
        let log = logger(isText: true, level: .warning)
        log.notice("quiet")
        log.critical("loud")
        #expect(lines.all == ["2026-11-21T01:32:35.042Z critical node: loud\n"])
    }

    @Test("A long value is cut", arguments: [true, false])
    func long(isText: Bool) {
        logger(isText: isText).info("m", metadata: ["k": "\(String(repeating: "é", count: 100_000))"])
        #expect((4_096...4_300).contains(lines.all.joined().utf8.count))
    }

    @Test(
        "A moment is written as RFC 3339 in UTC",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ])
    func timestamps(milliseconds: Int64, expected: String) {
        #expect(Timestamp(milliseconds: milliseconds).description == expected)
    }

    @Test("A line goes out in one write, whole, and where there is no output it is lost")
    func write() throws {
        var ends: [Int32] = [0, 0]
        // Here each read returns what one write wrote.
        try #require(socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) == 0)
        LogOutput.writeWhole(Array("first line\n".utf8), to: ends[1])
        LogOutput.writeWhole(Array("second\n".utf8), to: ends[1])
        var buffer = [UInt8](repeating: 0, count: 100)
        let count = read(ends[0], &buffer, buffer.count)
        #expect(String(decoding: buffer.prefix(max(0, count)), as: UTF8.self) == "first line\n")
        close(ends[1])
        close(ends[0])
        LogOutput.writeWhole(Array("lost\n".utf8), to: -1)
    }

    @Test("The form follows the words of the settings", arguments: [("auto", false), ("json", false), ("text", true)])
    func formats(word: String, isText: Bool) {
        #expect(LogFormat(rawValue: word)?.isText(for: lines.output) == isText)
    }
}
