import Testing

@testable import Engine

@Suite struct StopFinderTests {
    @Test(
        "The first stop string ends the text, however it comes in pieces; what may become one waits",
        arguments: [
            ("Hello world", ["wor"], "Hello ", "wor"),
            ("aaab", ["aab"], "a", "aab"), ("naïve", ["ï"], "na", "ï"), ("Hello", ["low", "lox"], "Hello", nil),
            ("", ["x"], "", nil), ("x", ["x"], "", "x"),
        ] as [(String, [String], String, String?)])
    func finds(text: String, stops: [String], shown: String, found: String?) {
        for size in 1...4 {
            var finder = StopFinder(stops)
            var output = ""
            var stop: String?
            var rest = Substring(text)
            while stop == nil, !rest.isEmpty {
                let piece = finder.append(String(rest.prefix(size)))
                output += piece.text
                stop = piece.stop
                rest = rest.dropFirst(size)
            }
            if stop == nil { output += finder.finish() }
            #expect(output == shown && stop == found, "in pieces of \(size)")
        }
    }
}
