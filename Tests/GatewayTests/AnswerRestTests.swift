import Core
import Testing

@testable import Gateway
@testable import Node

@Suite("The rest of an answer") struct AnswerRestTests {
    private let events: [ChatEvent] = [
        .reasoning(choice: 0, "hm"), .text(choice: 0, "añb"), .text(choice: 0, "cd"),
        .toolCall(choice: 0, ToolCallPiece(index: 0, id: "c1", name: "f", arguments: "{\"x\":")),
        .toolCall(choice: 0, ToolCallPiece(index: 0, arguments: "1}")),
    ]

    private func rest(behind known: Int) -> [ChatEvent] {
        var rest = AnswerRest(behind: known)
        var told: [ChatEvent] = []
        for event in events { if let new = rest.of(event) { told.append(new) } }
        return told
    }

    @Test("Begins behind what is known, in the middle of a piece too")
    func rest() {
        #expect(rest(behind: 0) == events)
        #expect(rest(behind: 2) == Array(events.dropFirst()))
        #expect(rest(behind: 5).first == .text(choice: 0, "b"))
        #expect(rest(behind: 6) == Array(events.dropFirst(2)))
    }

    @Test("A call is named even where all of its first piece is known")
    func calls() {
        #expect(
            rest(behind: 13) == [
                .toolCall(choice: 0, ToolCallPiece(index: 0, id: "c1", name: "f", arguments: "")),
                .toolCall(choice: 0, ToolCallPiece(index: 0, arguments: "1}")),
            ])
    }

    @Test("Counts what has passed, known or not")
    func position() {
        var rest = AnswerRest(behind: 1_000)
        for event in events { _ = rest.of(event) }
        #expect(rest.position == 2 + 4 + 2 + 5 + 2)
    }
}
