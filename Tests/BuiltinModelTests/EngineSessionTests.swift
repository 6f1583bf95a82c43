import Core
import Glibc
import Testing

@testable import BuiltinModel

@Suite("The engine protocol")
struct EngineSessionTests {
    private func session(slots: Int = 2) throws -> EngineSession {
        EngineSession(try TestModel.scheduler(slots: slots))
    }

    private func lines(_ bytes: [UInt8]) throws -> [JSON] {
        try bytes.split(separator: UInt8(ascii: "\n")).map { try JSON.parse(Array($0)) }
    }

    private func reply(_ session: EngineSession, to line: String) throws -> [JSON] {
        try lines(session.receive(Array(line.utf8)))
    }

    private func run(_ session: EngineSession) throws -> [JSON] {
        var events: [JSON] = []
        while case .now = session.wake(at: .zero) { events += try lines(session.advance(at: .zero)) }
        return events
    }

    @Test("The first line says what the engine can do")
    func ready() throws {
        let ready = try #require(try lines(try session().ready()).first)
        #expect(ready["event"]?.string == "ready")
        #expect(ready["protocol"]?.integer == 1)
        #expect(ready["model"]?.string == "testmodel")
        #expect(ready["fingerprint"]?.string?.hasPrefix("testmodel-q8_0@") == true)
        #expect(ready["context"]?.integer == 160)
        #expect(ready["slots"]?.integer == 2)
        #expect(ready["tokens"] == ["per_byte": 1, "per_message": 4, "fixed": 2, "exact": true])
        #expect(ready["sampling"]?.array?.count == 7)
        #expect(ready["capabilities"] == ["partial", "raw_prompt"])
    }

    @Test("A raw prompt is taken as it stands: with its control words it is the prompt that messages make")
    func raw() throws {
        func answer(_ member: String) throws -> [JSON] {
            let session = try session()
            #expect(try reply(session, to: #"{"op":"generate","id":"r","max_tokens":9,\#(member)}"#).isEmpty)
            return try run(session)
        }
        let made = try answer(#""messages":[{"role":"user","content":"hi <☕>"}]"#)
        #expect(try answer(#""prompt":"<|user|>\nhi <☕><|end|>\n<|assistant|>\n""#) == made)
        #expect(try answer(#""prompt":"a<|b""#).last?["prompt_tokens"] == 4)
        for wrong in [#""prompt":"""#, #""prompt":["a"]"#, #""prompt":"\#(String(repeating: "x", count: 160))""#] {
            let session = try session()
            let error = try reply(session, to: #"{"op":"generate","id":"r",\#(wrong)}"#).first
            #expect(error?["event"] == "error" && error?["parameter"] == "prompt")
        }
    }

    @Test("An answer is text and one done, with exact counts")
    func generate() throws {
        let session = try session()
        let line = #"{"op":"generate","id":"r1","messages":[{"role":"user","content":"hi ☕"}],"max_tokens":9}"#
        #expect(try reply(session, to: line).isEmpty)
        let events = try run(session)
        #expect(events.dropLast().allSatisfy { $0["event"]?.string == "text" && $0["text"]?.string?.isEmpty == false })
        #expect(events.allSatisfy { $0["id"]?.string == "r1" })
        #expect(
            events.last == [
                "event": "done", "id": "r1", "reason": "length", "prompt_tokens": 12, "completion_tokens": 9,
                "cached_tokens": 0,
            ])
    }

    @Test(
        "A wrong member is an error that names it",
        arguments: [
            ("messages", #""messages":[]"#), ("messages", #""messages":"hi""#),
            ("messages", #""messages":[{"role":"robot","content":"x"}]"#),
            ("messages", #""messages":[{"role":"user","content":["x"]}]"#), ("max_tokens", #""max_tokens":0"#),
            ("max_tokens", #""max_tokens":1.5"#), ("max_tokens", #""max_tokens":1e99"#),
            ("temperature", #""temperature":2.1"#), ("temperature", #""temperature":"hot""#),
            ("top_p", #""top_p":-0.1"#), ("top_k", #""top_k":-1"#), ("min_p", #""min_p":1.1"#),
            ("seed", #""seed":1.5"#), ("seed", #""seed":1e300"#), ("presence_penalty", #""presence_penalty":3"#),
            ("frequency_penalty", #""frequency_penalty":-3"#), ("stop", #""stop":"x""#), ("stop", #""stop":[""]"#),
            ("stop", #""stop":[1]"#),
            ("stop", #""stop":["1","2","3","4","5","6","7","8","9","0","a","b","c","d","e","f","g"]"#),
        ])
    func wrongMember(name: String, member: String) throws {
        let session = try session()
        let messages = member.contains("messages") ? "" : #""messages":[{"role":"user","content":"x"}],"#
        let error = try #require(try reply(session, to: #"{"op":"generate","id":"r",\#(messages)\#(member)}"#).first)
        #expect(error["event"]?.string == "error")
        #expect(error["id"]?.string == "r")
        #expect(error["code"]?.string == "invalid_request")
        #expect(error["parameter"]?.string == name)
        #expect(try run(session).isEmpty)
    }

    @Test("A prompt that leaves no room is refused with both numbers; one that leaves room for one token is not")
    func contextLength() throws {
        let session = try session()
        func order(_ bytes: Int, id: String) -> String {
            let text = String(repeating: "x", count: bytes)
            return #"{"op":"generate","id":"\#(id)","messages":[{"role":"user","content":"\#(text)"}]}"#
        }
        let error = try #require(try reply(session, to: order(154, id: "long")).first)
        #expect(error["code"]?.string == "context_length_exceeded")
        #expect(error["message"]?.string?.contains("160") == true)
        #expect(error["message"]?.string?.contains("159") == true)
        #expect(try reply(session, to: order(153, id: "fits")).isEmpty)
        #expect(try run(session).last?["completion_tokens"]?.integer == 1)
    }

    @Test("What makes no sense is answered, and the engine goes on")
    func nonsense() throws {
        let session = try session()
        for line in [
            "nonsense", "[]", "{}", #"{"op":"ping"}"#, #"{"op":"ping","id":""}"#, #"{"op":"ping","id":7}"#, "\u{0}",
        ] {
            let error = try #require(try reply(session, to: line).first)
            #expect(error["event"]?.string == "error" && error["id"] == nil, "\(line)")
        }
        let unknown = try #require(try reply(session, to: #"{"op":"dance","id":"d"}"#).first)
        #expect(unknown["id"]?.string == "d" && unknown["parameter"]?.string == "op")
        #expect(try reply(session, to: #"{"op":"ping","id":"p"}"#) == [["event": "pong", "id": "p"]])
        #expect(try reply(session, to: #"{"op":"cancel","id":"nobody"}"#).isEmpty)
        #expect(try lines(session.receiveOverlong()).first?["event"]?.string == "error")
    }

    @Test("An id in use is refused, and free again after its end")
    func duplicateID() throws {
        let session = try session()
        let line = #"{"op":"generate","id":"r","messages":[{"role":"user","content":"x"}],"max_tokens":2}"#
        #expect(try reply(session, to: line).isEmpty)
        #expect(try reply(session, to: line).first?["parameter"]?.string == "id")
        #expect(try reply(session, to: #"{"op":"cancel","id":"r"}"#).first?["reason"]?.string == "cancelled")
        #expect(try reply(session, to: line).isEmpty)
    }

    @Test("Lines are cut at their ends, however the bytes come, and an overlong one is told")
    func lineBuffer() {
        var buffer = LineBuffer(limit: 5)
        func append(_ text: String) -> [LineBuffer.Line] { Array(text.utf8).withUnsafeBytes { buffer.append($0) } }
        #expect(append("ab") == [])
        #expect(append("c\n\nde\nf") == [.bytes(Array("abc".utf8)), .bytes(Array("de".utf8))])
        #expect(append("12345\n") == [.overlong])
        #expect(append("12345\n") == [.bytes(Array("12345".utf8))])
        #expect(append("123456") == [])
        #expect(append("7890123456789\nok\n") == [.overlong, .bytes(Array("ok".utf8))])
    }
}
