import Core
import Testing

@Suite struct KeepAliveTests {
    @Test(arguments: [
        ("10m", KeepAlive.loaded(.seconds(600))), ("1h30m", .loaded(.seconds(5_400))), ("90", .loaded(.seconds(90))),
        ("0", .unloaded), ("0s", .unloaded), ("-1", .forever), ("-1m", .forever), ("forever", .forever),
        ("500ms", .loaded(.milliseconds(500))),
    ])
    func texts(text: String, expected: KeepAlive) { #expect(KeepAlive(text) == expected) }

    @Test(arguments: ["", "m", "10x", "ever", "--5m", "1e99", "nan", "inf", "9999999999999999h"])
    func whatIsNoDuration(text: String) { #expect(KeepAlive(text) == nil) }

    @Test(arguments: ["10m", "2h", "90s", "0", "forever"])
    func whatIsShownIsRead(text: String) throws {
        let value = try #require(KeepAlive(text))
        #expect(value.description == text)
        #expect(KeepAlive(value.description) == value)
    }
}
