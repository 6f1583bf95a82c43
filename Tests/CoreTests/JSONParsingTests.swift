import Core
import Testing

@Suite struct JSONParsingTests {
    @Test(
        "Reads what RFC 8259 allows",
        arguments: [
            ("null", .null), ("true", .bool(true)), (" \t\r\n false \n", .bool(false)), ("0", 0), ("-0", 0),
            ("-12", -12), ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
            ("9223372036854775808", .number(9_223_372_036_854_775_808)), ("1.5", 1.5), ("0.0", .number(0)),
            ("1e3", .number(1000)), ("1E+2", .number(100)), ("1e-2", .number(0.01)), ("-0.5e0", .number(-0.5)),
            ("\"\"", ""), ("\"a/b\"", "a/b"), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"),
            (#""\u0041\u00e4\u20AC""#, "Aä€"), (#""\ud83c\udf89""#, "🎉"), ("\"\u{7F}é🎉\"", "\u{7F}é🎉"),
            (#""\u0000""#, "\u{0}"), ("[]", []), ("[ ]", []), ("[1,[2],{}]", [1, [2], [:]]), ("{}", [:]),
            ("{ }", [:]), (#"{"a":1,"b":[true,null]}"#, ["a": 1, "b": [true, nil]]),
            (#"{"":{"":[]}}"#, ["": ["": []]]), ("\u{FEFF}{}", [:]),
        ] as [(String, JSON)])
    func accepts(text: String, value: JSON) throws {
        #expect(try JSON.parse(text) == value)
    }

    @Test(
        "Refuses what RFC 8259 does not allow",
        arguments: [
            "", " ", "nul", "nulll", "True", "tru", "NaN", "Infinity", "-Infinity", "-", "+1", "01", "-01", "1.", ".5",
            "1.e1", "1e", "1e+", "0x10", "1_000", "1 2", "'a'", "\"", "\"a", "\"\\\"", "\"\\x41\"", "\"\\u12\"",
            "\"\\u+123\"", "\"\\u-123\"", "\"\\u12G4\"", "\"\\ud83c\\u12\"", "\"\t\"", "\"\n\"", "\"\u{1F}\"", "[", "]",
            "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1;2]", "{", "}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}",
            "{,}", "{a:1}", "{1:2}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "// c\n1", "/**/1", "1 // c", "[1]]", "{}}",
            "1e400", "-1e999",
        ])
    func refuses(text: String) {
        #expect { try JSON.parse(text) } throws: { ($0 as? RuntimeError)?.code == .invalidRequest }
    }

    @Test(
        "Refuses bytes that are not UTF-8",
        arguments: [[0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0xC3]] as [[UInt8]])
    func refusesWrongEncoding(bytes: [UInt8]) {
        #expect { try JSON.parse(bytes) } throws: { ($0 as? RuntimeError)?.code == .invalidRequest }
    }

    @Test(
        "A lone surrogate becomes the replacement character, and what follows it stays",
        arguments: [
            (#""\ud83c""#, "\u{FFFD}"), (#""\udf89x""#, "\u{FFFD}x"), (#""\ud83c\u0041""#, "\u{FFFD}A"),
            (#""\ud83c\ud83c\udf89""#, "\u{FFFD}🎉"), (#""\ud83c\n""#, "\u{FFFD}\n"),
            (#""\udf89\ud83c""#, "\u{FFFD}\u{FFFD}"),
        ])
    func loneSurrogates(text: String, value: String) throws {
        #expect(try JSON.parse(text) == .string(value))
    }

    @Test("Of equal keys the last one stands, in the first one's place")
    func duplicateKeys() throws {
        let value = try JSON.parse(#"{"a":1,"b":2,"a":3}"#)
        #expect(value["a"] == 3)
        #expect(value.object?.members.map(\.key) == ["a", "b"])
        #expect(value.text == #"{"a":3,"b":2}"#)
    }

    @Test("Nesting is bounded", arguments: ["[", "{\"a\":"])
    func depth(opening: String) throws {
        let closing = opening == "[" ? "]" : "}"
        func nested(_ depth: Int) -> String {
            String(repeating: opening, count: depth) + "1" + String(repeating: closing, count: depth)
        }
        _ = try JSON.parse(nested(Limits.jsonDepth - 1))
        #expect { try JSON.parse(nested(Limits.jsonDepth)) } throws: { ($0 as? RuntimeError)?.code == .tooLarge }
        #expect { try JSON.parse(String(repeating: opening, count: 1_000_000)) } throws: {
            ($0 as? RuntimeError)?.code == .tooLarge
        }
    }

    @Test("The items of one list are bounded, repeated keys too")
    func items() throws {
        func list(_ count: Int) -> String { "[" + String(repeating: "0,", count: count - 1) + "0]" }
        #expect(try JSON.parse(list(Limits.jsonItems)).array?.count == Limits.jsonItems)
        #expect { try JSON.parse(list(Limits.jsonItems + 1)) } throws: { ($0 as? RuntimeError)?.code == .tooLarge }
        let same = "{" + String(repeating: "\"a\":0,", count: Limits.jsonItems) + "\"a\":0}"
        #expect { try JSON.parse(same) } throws: { ($0 as? RuntimeError)?.code == .tooLarge }
    }

    @Test("Tells the byte at which the text is wrong")
    func offset() {
        #expect { try JSON.parse("{\"a\": x}") } throws: { "\($0)".contains("at byte 6") }
    }

    @Test("Never traps on seeded garbage, and what it reads it can write and read again")
    func garbage() throws {
        var random = Seeded(0x1517)
        let pieces: [[UInt8]] = [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud83c", "d83c", "0", "-", "1e", "9999999999999999999",
            ".",
            "true", "null", " ", "\n", "\"a\"", "\"a\":", "é", "🎉", "e5",
        ].map { Array($0.utf8) }
        var read = 0
        for round in 0..<20_000 {
            var bytes: [UInt8] = []
            for _ in 0..<random.below(24) {
                bytes += random.below(4) == 0 ? random.bytes(random.below(4)) : pieces[random.below(pieces.count)]
            }
            guard let value = try? JSON.parse(bytes) else { continue }
            read += 1
            let again = try JSON.parse(value.encoded)
            #expect(again == value, "round \(round)")
        }
        #expect(read > 100)
    }
}
