import Core
import Testing

@testable import Swarm

@Suite("An answer that is taken up") struct AnswerSoFarTests {
    private static let plain = GenerationRequest(messages: [Message(.user, "hi")], maximumTokens: 50)
    private static let done = GenerationEvent.finished(
        reason: .stop, usage: TokenUsage(promptTokens: 1, completionTokens: 9))

    private func given(_ events: GenerationEvent...) throws -> AnswerSoFar {
        var answer = AnswerSoFar()
        for event in events { #expect(try answer.take(event) == event) }
        return answer
    }

    @Test("Plain text is continued where the engine can, else repeated; nothing is begun anew")
    func ways() throws {
        let text = try given(.text("I will "))
        #expect(text.way(for: [.partial], Self.plain) == .continued)
        #expect(text.way(for: [], Self.plain) == .repeated)
        #expect(AnswerSoFar().way(for: [.partial], Self.plain) == .begun)
        var shaped = Self.plain
        shaped.shape.format = .jsonObject
        #expect(text.way(for: [.partial], shaped) == .repeated)
        #expect(try given(.reasoning("hm"), .text("I ")).way(for: [.partial], Self.plain) == .repeated)
        #expect(try given(.logprobs([]), .text("I ")).way(for: [.partial], Self.plain) == .repeated)
    }

    @Test("A continuation is asked with what was given out")
    func continued() throws {
        var answer = try given(.text("I will "), .text("be"))
        #expect(answer.takeUp(Self.plain, .continued).partial == "I will be")
        #expect(try answer.take(.text(" there")) == .text(" there"))
        #expect(try answer.take(Self.done) == Self.done)
        #expect(answer.isFinished)
        #expect(answer.message.text == "I will be there")
        #expect(answer.takeUp(Self.plain, .repeated).partial == nil)
    }

    @Test("Of a repetition only what is new is given out, however it is cut", arguments: 1...12)
    func repeated(size: Int) throws {
        let whole = "Ich möchte ☕, bitte!"
        for cut in 1..<whole.count {
            var answer = try given(.text(String(whole.prefix(cut))))
            #expect(answer.takeUp(Self.plain, .repeated).partial == nil)
            var rest = ""
            var characters = whole[...]
            while !characters.isEmpty {
                if case .text(let piece)? = try answer.take(.text(String(characters.prefix(size)))) { rest += piece }
                characters = characters.dropFirst(size)
            }
            #expect(rest == whole.dropFirst(cut))
            #expect(answer.message.text == whole)
            #expect(try answer.take(Self.done) == Self.done)
        }
    }

    @Test("A repetition that differs is an error, not a seam")
    func different() throws {
        func repetition(of events: [GenerationEvent], after given: AnswerSoFar) -> Bool {
            var answer = given
            _ = answer.takeUp(Self.plain, .repeated)
            do {
                for event in events { _ = try answer.take(event) }
                return true
            } catch {
                return false
            }
        }
        let text = try given(.text("I will"))
        #expect(repetition(of: [.text("I will")], after: text))
        #expect(!repetition(of: [.text("I can")], after: text))
        #expect(!repetition(of: [.text("I w"), Self.done], after: text), "it ended too early")
        #expect(!repetition(of: [.toolCall(ToolCallPiece(index: 0, id: "c", name: "f"))], after: text))
        let thought = try given(.reasoning("hm, so"), .text("I"))
        #expect(!repetition(of: [.reasoning("hm"), .text("I")], after: thought))
        #expect(repetition(of: [.reasoning("hm,"), .reasoning(" so"), .text("I w")], after: thought))
    }

    @Test("A repeated call keeps the id that the client knows, and its arguments go on")
    func calls() throws {
        var answer = try given(
            .toolCall(ToolCallPiece(index: 0, id: "first", name: "f", arguments: "{\"a\":")))
        _ = answer.takeUp(Self.plain, .repeated)
        #expect(try answer.take(.toolCall(ToolCallPiece(index: 0, id: "other", name: "f", arguments: ""))) == nil)
        #expect(
            try answer.take(.toolCall(ToolCallPiece(index: 0, arguments: "{\"a\": 1")))
                == .toolCall(ToolCallPiece(index: 0, arguments: " 1")))
        #expect(
            try answer.take(.toolCall(ToolCallPiece(index: 0, arguments: "}")))
                == .toolCall(ToolCallPiece(index: 0, arguments: "}")))
        let next = GenerationEvent.toolCall(ToolCallPiece(index: 1, id: "second", name: "g", arguments: "{"))
        #expect(try answer.take(next) == next)
        let rest = GenerationEvent.toolCall(ToolCallPiece(index: 1, arguments: "}"))
        #expect(try answer.take(rest) == rest)
        #expect(try answer.take(Self.done) == Self.done)
        #expect(answer.message.toolCalls.map(\.id) == ["first", "second"])
        #expect(answer.message.toolCalls.map(\.arguments) == ["{\"a\": 1}", "{}"])
        var other = try given(.toolCall(ToolCallPiece(index: 0, id: "first", name: "f", arguments: "{")))
        _ = other.takeUp(Self.plain, .repeated)
        #expect(throws: RuntimeError.self) {
            try other.take(.toolCall(ToolCallPiece(index: 0, id: "c", name: "g", arguments: "{")))
        }
    }
}
