import Core
import Testing

@testable import Settings

@Suite struct JSON5ReaderTests {
    @Test(
        "The example of the specification reads as it says",
        arguments: ["\n", "\r\n", "\r"])
    func specificationExample(newline: String) throws {
        let lines = [
            "{", "  // comments", "  unquoted: 'and you can quote me on that',",
            #"  singleQuotes: 'I can use "double quotes" here',"#, #"  lineBreaks: "Look, Mom! \"#, #"No \\n's!","#,
            "  hexadecimal: 0xdecaf,", "  leadingDecimalPoint: .8675309, andTrailing: 8675309.,",
            "  positiveSign: +1,", "  trailingComma: 'in objects', andIn: ['arrays',],",
            #"  "backwardsCompatible": "with JSON","#, "}",
        ]
        let value = try JSON5Reader.read(lines.joined(separator: newline).utf8)
        #expect(
            plain(value)
                == #"{unquoted:"and you can quote me on that",singleQuotes:"I can use \"double quotes\" here","#
                + #"lineBreaks:"Look, Mom! No \\n's!",hexadecimal:912559.0,leadingDecimalPoint:0.8675309,"#
                + #"andTrailing:8675309.0,positiveSign:1.0,trailingComma:"in objects",andIn:["arrays"],"#
                + #"backwardsCompatible:"with JSON"}"#)
        guard case .object(let members) = value.value else {
            Issue.record("no object")
            return
        }
        #expect(members.map(\.keyPosition.line) == [3, 4, 5, 7, 8, 8, 9, 10, 10, 11])
    }

    @Test(
        "A value of each form is read",
        arguments: [
            ("null", "null"), ("true", "true"), ("false", "false"), ("0", "0.0"), ("-0", "-0.0"), ("+.5", "0.5"),
            ("5.", "5.0"), ("1e3", "1000.0"), ("1.5E-2", "0.015"), ("1E+2", "100.0"), ("0x1F", "31.0"),
            ("-0Xff", "-255.0"), ("Infinity", "inf"), ("-Infinity", "-inf"), ("+NaN", "nan"), ("1e999", "inf"),
            ("0e0", "0.0"), ("''", #""""#), (#""a'b""#, #""a'b""#), (#"'a"b'"#, #""a\"b""#),
            (#"'\b\f\n\r\t\v\0'"#, #""\u0008\u000c\n\r\t\u000b\u0000""#), (#"'\x41é\u20AC'"#, #""Aé€""#),
            (#"'\uD83D\uDE00'"#, #""😀""#), (#"'\q\'\"\\\/'"#, #""q'\"\\/""#),
            ("'a\\\nb\\\r\nc\\\rd\\\u{2028}e'", #""abcde""#),
            ("'\u{2028}\u{2029}\t'", "\"\u{2028}\u{2029}\\t\""), ("[]", "[]"), ("[1,]", "[1.0]"),
            ("[[],{},]", "[[],{}]"),
            ("{}", "{}"), ("{a:1,}", "{a:1.0}"), ("{$:1,_:2,a1:3}", "{$:1.0,_:2.0,a1:3.0}"),
            ("{\\u0061b:1}", "{ab:1.0}"), ("{größe:1,名:2,a\u{200D}b:3}", "{größe:1.0,名:2.0,a\u{200D}b:3.0}"),
            ("{null:1,'two words':2,\"\":3}", "{null:1.0,two words:2.0,:3.0}"), ("\u{FEFF}1", "1.0"),
            ("/* a * b **/1// c", "1.0"), ("// a\u{2028}1", "1.0"), ("\u{0B}\u{0C}\u{A0}\u{3000}\u{FEFF}1 ", "1.0"),
            ("{a/**/:/**/1/**/,/**/}", "{a:1.0}"),
        ])
    func values(text: String, expected: String) throws {
        #expect(plain(try JSON5Reader.read(text.utf8)) == expected)
    }

    @Test(
        "What is not JSON5 is refused where it stands",
        arguments: [
            ("", "1:1: a value was expected, not the end of the text"),
            ("  \n ", "2:2: a value was expected, not the end of the text"),
            ("{", "1:1: this { has no }"), ("{\n  a: [1,\n", "2:6: this [ has no ]"), ("{a:1", "1:1: this { has no }"),
            ("{a}", #"1:3: a colon was expected after the key, not "}""#),
            ("{a:}", #"1:4: a value was expected, not "}""#), ("{,}", #"1:2: a key was expected, not ",""#),
            ("[,]", #"1:2: a value was expected, not ",""#), ("[1 2]", #"1:4: a comma or ] was expected, not "2""#),
            ("{a:1 b:2}", #"1:6: a comma or } was expected, not "b""#),
            ("{}x", "1:3: something follows the end of the settings"),
            ("{1a:1}", "1:2: a key without quotes cannot hold this character"),
            ("{a-b:1}", #"1:3: a colon was expected after the key, not "-""#),
            ("{a:b}", "1:4: a value was expected; text stands in quotes"),
            ("{a: True}", "1:5: a value was expected; text stands in quotes"),
            ("{a:\n  Infinit}", "2:3: a value was expected; text stands in quotes"),
            ("{a:'b}", "1:4: this text has no closing quote"),
            ("{a:'b\n'}", "1:4: this text has no closing quote on its line"),
            ("{a:\"\\", "1:5: this text has no closing quote"), ("'\\1'", "1:2: octal escapes are not known"),
            ("'\\01'", "1:2: octal escapes are not known"), ("'\\x4'", "1:2: this escape needs 2 hexadecimal digits"),
            ("'\\u12G4'", "1:2: this escape needs 4 hexadecimal digits"),
            ("'\\uD800'", "1:2: this escape is half a character"),
            ("'\\uDC00'", "1:2: this escape is half a character"),
            ("'\\uD800\\u0041'", "1:2: this escape is half a character"),
            ("{\\x41:1}", "1:2: a key holds no other escape than \\u"), ("010", "1:1: a number does not begin with 0"),
            ("-", "1:2: a number was expected after the sign, not the end of the text"),
            ("+ 1", #"1:2: a number was expected after the sign, not " ""#),
            (".", "1:2: a digit was expected, not the end of the text"),
            ("1e", "1:3: a digit was expected in the exponent, not the end of the text"),
            ("0x", "1:3: a hexadecimal digit was expected, not the end of the text"),
            ("0xG", #"1:3: a hexadecimal digit was expected, not "G""#),
            ("8080ms", #"1:5: this number goes on with "m"; text stands in quotes"#),
            ("127.0.0.1", #"1:6: this number goes on with "."; text stands in quotes"#),
            ("{a:1 /* b", "1:6: this comment has no end"), ("{ / }", "1:3: a comment begins with // or /*"),
            ("\u{FEFF}{é: x}", "1:5: a value was expected; text stands in quotes"),
            ("{'😀': x}", "1:7: a value was expected; text stands in quotes"),
            ("{a:\u{07}}", "1:4: a value was expected, not a control character"),
        ])
    func errors(text: String, expected: String) {
        let error = #expect(throws: JSON5Error.self) { try JSON5Reader.read(text.utf8) }
        #expect(error.map { "\($0.position): \($0.message)" } == expected)
    }

    @Test("Bytes that are not UTF-8 are refused where they stand")
    func invalidEncoding() {
        let error = #expect(throws: JSON5Error.self) { try JSON5Reader.read(Array("{\n a: '".utf8) + [0xC3, 0x28]) }
        #expect(error == JSON5Error(position: Position(line: 2, column: 6), message: "the text is not UTF-8 here"))
    }

    @Test("Nesting is read to its bound and refused beyond it")
    func depth() throws {
        let bound = Limits.settingsDepth
        let nested = { (count: Int) in
            String(repeating: "[", count: count) + String(repeating: "]", count: count)
        }
        _ = try JSON5Reader.read(nested(bound).utf8)
        let error = #expect(throws: JSON5Error.self) { try JSON5Reader.read(nested(bound + 1).utf8) }
        #expect(error?.message == "the settings are nested deeper than \(bound) levels")
        #expect(error?.position == Position(line: 1, column: bound + 1))
        #expect(throws: JSON5Error.self) { try JSON5Reader.read(String(repeating: "{a:[", count: 200_000).utf8) }
    }

    /// A value without its places.
    private func plain(_ node: JSON5) -> String {
        switch node.value {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let value): "\(value)"
        case .string(let text): JSON.string(text).text
        case .array(let nodes): "[\(nodes.map(plain).joined(separator: ","))]"
        case .object(let members): "{\(members.map { "\($0.key):\(plain($0.value))" }.joined(separator: ","))}"
        }
    }
}
