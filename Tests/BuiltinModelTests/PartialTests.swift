import Core
import Testing

@testable import BuiltinModel

@Suite("Going on with an answer that another engine began")
struct PartialTests {
    private static let question = #""messages":[{"role":"user","content":"Remember: my name is Zoë"}]"#

    private struct Answer: Equatable {
        var text: String
        var done: JSON
    }

    private func answer(_ members: String, partial: String? = nil) throws -> Answer {
        let session = try EngineProgram.start(.embedded, pace: nil, slots: 1)
        let beginning = partial.map { #","partial":\#(JSON.string($0).text)"# } ?? ""
        var bytes = session.receive(
            Array(#"{"op":"generate","id":"r1",\#(Self.question)\#(members)\#(beginning)}"#.utf8))
        while case .now = session.wake(at: .zero) { bytes += session.advance(at: .zero) }
        let lines = try bytes.split(separator: UInt8(ascii: "\n")).map { try JSON.parse(Array($0)) }
        let done = try #require(lines.last)
        return Answer(text: lines.dropLast().map { $0["text"]?.string ?? "" }.joined(), done: done)
    }

    @Test(
        "From any character on the same bytes follow, with the same counts and end",
        arguments: [
            #","temperature":0"#, #","temperature":0,"max_tokens":17"#,
            #","temperature":1.3,"seed":11,"max_tokens":60"#,
            #","temperature":0,"frequency_penalty":1.5,"max_tokens":60"#, #","temperature":0,"stop":["name is"]"#,
        ])
    func continues(members: String) throws {
        let whole = try answer(members)
        #expect(whole.text.count > 10)
        // What is no character cannot be given back as it was: another test's business.
        guard !whole.text.contains("\u{FFFD}") else { return }
        for cut in 1...whole.text.count {
            let beginning = String(whole.text.prefix(cut))
            let rest = try answer(members, partial: beginning)
            #expect(beginning + rest.text == whole.text, "after \(cut) characters")
            for member in ["reason", "prompt_tokens", "completion_tokens"] {
                #expect(rest.done[member] == whole.done[member], "\(member) after \(cut) characters")
            }
        }
    }

    @Test("A beginning that is all the answer may have ends at once, and one that is no text is refused")
    func bounds() throws {
        let spent = try answer(#","max_tokens":3"#, partial: "I will")
        #expect(spent.text.isEmpty)
        #expect(spent.done["reason"]?.string == "length")
        #expect(spent.done["completion_tokens"]?.integer == 6)
        let full = try answer("", partial: String(repeating: "x", count: 5_000))
        #expect(full.done["reason"]?.string == "length")
        let session = try EngineProgram.start(.embedded, pace: nil, slots: 1)
        let refused = try JSON.parse(
            Array(session.receive(Array(#"{"op":"generate","id":"r1",\#(Self.question),"partial":5}"#.utf8)).dropLast())
        )
        #expect(refused["parameter"]?.string == "partial")
    }
}
