import Core
import Testing

@Suite struct JSONWritingTests {
    @Test(
        "Writes compact text with members in their order",
        arguments: [
            (["b": 1, "a": [true, nil, 1.5]], #"{"b":1,"a":[true,null,1.5]}"#), ([], "[]"), ([:], "{}"),
            ("\"\\\n\r\t\u{1}\u{1F}/é🎉", #""\"\\\n\r\t\u0001\u001f/é🎉""#), (.number(.infinity), "null"),
            (.number(.nan), "null"), (.integer(.min), "-9223372036854775808"), (.number(1e300), "1e+300"),
        ] as [(JSON, String)])
    func writes(value: JSON, text: String) {
        #expect(value.text == text)
    }

    @Test("What is written is read back alike, for random values")
    func roundTrip() throws {
        var random = Seeded(8259)
        func value(_ depth: Int) -> JSON {
            switch random.below(depth > 4 ? 5 : 7) {
            case 0: return .null
            case 1: return .bool(random.below(2) == 0)
            case 2: return .integer(Int64(bitPattern: random.next()) >> Int64(random.below(64)))
            case 3:
                // Whole doubles are read back as integers where they fit; keep to fractions and the very large.
                return .number(Double(random.below(1_000_000)) + 0.25)
            case 4: return .string(random.text(random.below(12)))
            case 5: return .array((0..<random.below(5)).map { _ in value(depth + 1) })
            default:
                var object = JSON.Object()
                for _ in 0..<random.below(5) { object[random.text(3)] = value(depth + 1) }
                return .object(object)
            }
        }
        for round in 0..<2_000 {
            let written = value(0)
            #expect(try JSON.parse(written.encoded) == written, "round \(round)")
        }
    }

    @Test("Every member of a large object is found, the last of its name, also after one is removed")
    func manyMembers() throws {
        var object = JSON.Object()
        for index in 0..<100 { object["key\(index)"] = .integer(Int64(index)) }
        object["key50"] = -50
        object["key0"] = nil
        #expect(object["key0"] == nil)
        #expect(object["key50"] == -50)
        for index in [1, 15, 16, 17, 99] { #expect(object["key\(index)"] == .integer(Int64(index))) }
        #expect(object.members.count == 99)
        #expect(try JSON.parse(JSON.object(object).encoded) == .object(object))
    }

    @Test("A removed member leaves the others findable")
    func removal() {
        var object = JSON.Object()
        for (index, key) in ["a", "b", "c"].enumerated() { object[key] = .integer(Int64(index)) }
        object["a"] = nil
        #expect(object["c"] == 2)
        #expect(object.members.map(\.key) == ["b", "c"])
    }

    @Test("Whole numbers are integers however they are written; others are not")
    func integers() throws {
        #expect(try JSON.parse("3.0").integer == 3)
        #expect(try JSON.parse("3e2").integer == 300)
        #expect(try JSON.parse("3.5").integer == nil)
        #expect(try JSON.parse("1e300").integer == nil)
        #expect(try JSON.parse("\"3\"").integer == nil)
    }

    @Test("A null member counts as missing")
    func nullMember() throws {
        #expect(try JSON.parse(#"{"a":null}"#)["a"] == nil)
    }
}
