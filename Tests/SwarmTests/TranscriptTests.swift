import Core
import Swarm
import Testing

@Suite struct TranscriptTests {
    private static func transcript(_ build: (inout Transcript) -> Void) -> Transcript {
        var transcript = Transcript()
        build(&transcript)
        return transcript
    }

    @Test("A request that was sent again is shown once, and its answer counts for the first")
    func retries() {
        let key = Bytes16(high: 1, low: 1)
        let transcript = Self.transcript {
            $0.append(Fixture.turn("q", key: key), dot: Fixture.dot(1, 1), dependencies: [])
            $0.append(Fixture.turn("q", key: key), dot: Fixture.dot(2, 1), dependencies: [])
            $0.append(Fixture.turn("a", .assistantTurn), dot: Fixture.dot(2, 2), dependencies: [Fixture.dot(2, 1)])
            $0.append(Fixture.turn("q", key: Bytes16(high: 1, low: 2)), dot: Fixture.dot(1, 2), dependencies: [])
        }
        #expect(transcript.messages == [Message(.user, "q"), Message(.assistant, "a"), Message(.user, "q")])
        #expect(transcript.exchange(requestKey: key)?.answer?.message.text == "a")
        #expect(transcript.exchange(requestKey: Bytes16(high: 9, low: 9)) == nil)
    }

    @Test(
        "A complete answer counts over an unfinished one, whichever came last",
        arguments: [FinishReason.aborted, .failed])
    func complete(reason: FinishReason) {
        for completeFirst in [true, false] {
            let transcript = Self.transcript {
                $0.append(Fixture.turn("q"), dot: Fixture.dot(1, 1), dependencies: [])
                let whole = Fixture.turn("whole", .assistantTurn)
                let part = Fixture.turn("a longer part", .assistantTurn, ended: reason)
                let turns = completeFirst ? [whole, part] : [part, whole]
                for index in turns.indices {
                    $0.append(turns[index], dot: Fixture.dot(1, UInt64(2 + index)), dependencies: [Fixture.dot(1, 1)])
                }
            }
            #expect(transcript.messages.last?.text == "whole")
        }
    }

    @Test("Of two complete answers the later counts, of two unfinished ones the longer")
    func later() {
        func last(_ texts: [String], _ reason: FinishReason) -> String? {
            Self.transcript {
                $0.append(Fixture.turn("q"), dot: Fixture.dot(1, 1), dependencies: [])
                for (index, text) in texts.enumerated() {
                    $0.append(
                        Fixture.turn(text, .assistantTurn, ended: reason), dot: Fixture.dot(1, UInt64(2 + index)),
                        dependencies: [Fixture.dot(1, 1)])
                }
            }.messages.last?.text
        }
        #expect(last(["longer", "b"], .stop) == "b")
        #expect(last(["longer", "b"], .length) == "b")
        #expect(last(["longer", "b"], .aborted) == "longer")
    }

    @Test("An unfinished answer counts as far as it came; an empty one is not said")
    func unfinished() {
        let transcript = Self.transcript {
            $0.append(Fixture.turn("q"), dot: Fixture.dot(1, 1), dependencies: [])
            $0.append(
                Fixture.turn("", .assistantTurn, ended: .aborted), dot: Fixture.dot(1, 2),
                dependencies: [Fixture.dot(1, 1)])
        }
        #expect(transcript.messages == [Message(.user, "q")])
        #expect(transcript.exchanges.first?.answer?.isComplete == false)
    }

    @Test("Instructions are no part of what is said; the last ones hold")
    func instructions() {
        let transcript = Self.transcript {
            for (index, text) in ["be brief", "be long"].enumerated() {
                $0.append(
                    Turn(message: Message(.system, text)), dot: Fixture.dot(1, UInt64(index * 2 + 1)), dependencies: [])
                $0.append(Fixture.turn("q"), dot: Fixture.dot(1, UInt64(index * 2 + 2)), dependencies: [])
            }
        }
        #expect(transcript.instructions?.text == "be long")
        #expect(transcript.messages == [Message(.user, "q"), Message(.user, "q")])
    }

    @Test("What the assistant says of itself, or twice in a row, stays said")
    func assistantTurns() {
        let transcript = Self.transcript {
            $0.append(Turn(message: Message(.system, "s")), dot: Fixture.dot(1, 1), dependencies: [])
            $0.append(
                Fixture.turn("welcome", .assistantTurn), dot: Fixture.dot(1, 2), dependencies: [Fixture.dot(1, 1)])
            $0.append(Fixture.turn("q"), dot: Fixture.dot(1, 3), dependencies: [Fixture.dot(1, 2)])
            $0.append(Fixture.turn("one", .assistantTurn), dot: Fixture.dot(1, 4), dependencies: [Fixture.dot(1, 3)])
            $0.append(Fixture.turn("two", .assistantTurn), dot: Fixture.dot(1, 5), dependencies: [Fixture.dot(1, 4)])
        }
        #expect(transcript.messages.map(\.text) == ["welcome", "q", "one", "two"])
        let bare = Self.transcript {
            $0.append(Fixture.turn("welcome", .assistantTurn), dot: Fixture.dot(1, 1), dependencies: [])
        }
        #expect(bare.messages == [Message(.assistant, "welcome")])
    }

    @Test("What was said before a question ends there")
    func before() {
        let transcript = Self.transcript {
            $0.append(Fixture.turn("q1"), dot: Fixture.dot(1, 1), dependencies: [])
            $0.append(Fixture.turn("a1", .assistantTurn), dot: Fixture.dot(1, 2), dependencies: [Fixture.dot(1, 1)])
            $0.append(Fixture.turn("q2"), dot: Fixture.dot(1, 3), dependencies: [Fixture.dot(1, 2)])
        }
        #expect(transcript.messages(before: Fixture.dot(1, 3)).map(\.text) == ["q1", "a1"])
        #expect(transcript.messages(before: Fixture.dot(1, 1)).isEmpty)
    }

    private static func said(_ words: String) -> [Message] {
        words.enumerated().map { Message($0.offset.isMultiple(of: 2) ? .user : .assistant, String($0.element)) }
    }

    @Test(
        "Finds how much of what a client sends is what was said last",
        arguments: [
            ("abcd", "", 0), ("", "ab", 0), ("abcd", "abcd", 4), ("abcd", "abcde", 4), ("abcd", "cde", 2),
            ("abab", "abc", 2), ("ababab", "ababab", 6), ("ababac", "ababad", 0), ("abcd", "xbcd", 0), ("a", "a", 1),
        ])
    func overlap(stored: String, sent: String, length: Int) {
        let transcript = Self.transcript { transcript in
            var last: [Dot] = []
            for (index, message) in Self.said(stored).enumerated() {
                let dot = Fixture.dot(1, UInt64(index + 1))
                transcript.append(
                    Fixture.turn(message.text, message.role == .user ? .userTurn : .assistantTurn), dot: dot,
                    dependencies: last)
                last = [dot]
            }
        }
        #expect(transcript.overlap(with: Self.said(sent)) == length)
    }

    @Test("Finds the overlap as a search by hand does, for random dialogues with few words")
    func overlapProperty() {
        var random = Seeded(31)
        for round in 0..<500 {
            let stored = (0..<random.below(12)).map { _ in Message(.user, ["a", "b"][random.below(2)]) }
            let sent = (0..<random.below(12)).map { _ in Message(.user, ["a", "b"][random.below(2)]) }
            let transcript = Self.transcript { transcript in
                for (index, message) in stored.enumerated() {
                    transcript.append(
                        Turn(message: message), dot: Fixture.dot(1, UInt64(index + 1)), dependencies: [])
                }
            }
            let expected = (0...min(stored.count, sent.count)).last {
                Array(stored.suffix($0)) == Array(sent.prefix($0))
            }
            #expect(transcript.overlap(with: sent) == expected, "round \(round)")
        }
    }

    @Test("Ten thousand equal messages are compared in no time", .timeLimit(.minutes(1)))
    func overlapCost() {
        let text = String(repeating: "a", count: 2_000)
        let transcript = Self.transcript { transcript in
            for index in 0..<10_000 {
                transcript.append(
                    Turn(message: Message(.user, index == 9_999 ? "b" : text)), dot: Fixture.dot(1, UInt64(index + 1)),
                    dependencies: [])
            }
        }
        // Each with storage of its own, as parsed from a request.
        let sent = (0..<10_000).map { _ in Message(.user, String(repeating: "a", count: 2_000)) }
        // Comparing every pair takes minutes here, one pass a few milliseconds.
        #expect(transcript.overlap(with: sent) == 0)
    }

    @Test(
        "White space around a text is the client's to trim", arguments: [("a ", "b"), ("a", " b\n"), ("\ta", "\r\nb")])
    func trimmed(question: String, answer: String) {
        let transcript = Self.transcript {
            $0.append(Fixture.turn("a"), dot: Fixture.dot(1, 1), dependencies: [])
            $0.append(Fixture.turn("b", .assistantTurn), dot: Fixture.dot(1, 2), dependencies: [Fixture.dot(1, 1)])
        }
        let sent = [Message(.user, question), Message(.assistant, answer), Message(.user, "c")]
        #expect(transcript.overlap(with: sent) == 2)
        #expect(transcript.overlap(with: [Message(.user, "a b"), Message(.user, "c")]) == 0)
    }
}
