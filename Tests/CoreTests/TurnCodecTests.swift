import Core
import Testing

@Suite struct TurnCodecTests {
    private static func turn(_ random: inout Seeded) -> Turn {
        var turn = Turn(message: Message(Message.Role.allCases[random.below(4)], random.text(random.below(40))))
        if random.below(3) == 0 { turn.message.reasoning = random.text(random.below(20)) }
        if random.below(3) == 0 { turn.message.toolCallID = random.text(9) }
        for _ in 0..<random.below(3) {
            let arguments = #"{"city":"\#(random.below(100))"}"#
            turn.message.toolCalls.append(ToolCall(id: random.text(9), name: random.text(5), arguments: arguments))
        }
        if random.below(3) == 0 { turn.annotation = ["store": true, "n": .integer(Int64(random.below(9)))] }
        if random.below(2) == 0 { turn.requestKey = Bytes16(high: random.next(), low: random.next()) }
        if random.below(2) == 0 {
            turn.outcome = Turn.Outcome(
                finishReason: FinishReason.allCases[random.below(FinishReason.allCases.count)],
                usage: TokenUsage(
                    promptTokens: random.below(.max), completionTokens: random.below(1_000),
                    cachedTokens: random.below(9),
                    isExact: random.below(2) == 0),
                model: random.text(5))
        }
        return turn
    }

    @Test("What is encoded is decoded alike, for random turns")
    func roundTrip() throws {
        var random = Seeded(11)
        for round in 0..<2_000 {
            let turn = Self.turn(&random)
            #expect(try TurnCodec.decodeTurn(TurnCodec.encode(turn)) == turn, "round \(round)")
        }
    }

    @Test(
        "A description says what it says of the conversation, or notes of one turn",
        arguments: [
            nil, TurnNote.cancelled, .annotation(["request": ["metadata": ["a": "b"]]]),
        ])
    func notes(note: TurnNote?) throws {
        let id = try #require(ConversationID("c"))
        let meta = ConversationMeta(id: id, owner: .local, metadata: note == nil ? ["a": "1"] : nil, note: note)
        #expect(try TurnCodec.decodeMeta(TurnCodec.encode(meta)) == meta)
    }

    @Test("A field with an unknown number is skipped: a newer host may add some")
    func unknownFields() throws {
        let turn = Turn(message: Message(.user, "hello"))
        let extra: [UInt8] = [200, 3, 1, 2, 3]
        #expect(try TurnCodec.decodeTurn(TurnCodec.encode(turn) + extra) == turn)
        #expect(try TurnCodec.decodeTurn(extra + TurnCodec.encode(turn)) == turn)
    }

    @Test("Truncated and flipped bodies never trap")
    func damage() {
        var random = Seeded(12)
        var refused = 0
        for _ in 0..<50 {
            let bytes = TurnCodec.encode(Self.turn(&random))
            for length in 0..<bytes.count where (try? TurnCodec.decodeTurn(Array(bytes.prefix(length)))) == nil {
                refused += 1
            }
            for bit in 0..<bytes.count * 8 {
                var flipped = bytes
                flipped[bit / 8] ^= 1 << UInt8(bit % 8)
                if (try? TurnCodec.decodeTurn(flipped)) == nil { refused += 1 }
                if (try? TurnCodec.decodeMeta(flipped)) == nil { refused += 1 }
            }
        }
        #expect(refused > 500)
    }

    @Test("Whose conversation it is comes back")
    func meta() throws {
        let id = try #require(ConversationID("conv_1"))
        let meta = ConversationMeta(id: id, owner: Owner(name: "key-ä"))
        #expect(try TurnCodec.decodeMeta(TurnCodec.encode(meta)) == meta)
        #expect(throws: RuntimeError.self) { try TurnCodec.decodeMeta([]) }
    }

    @Test("A turn without role or text is refused")
    func missingFields() {
        #expect { try TurnCodec.decodeTurn([]) } throws: { ($0 as? RuntimeError)?.code == .corrupt }
        #expect { try TurnCodec.decodeTurn([1, 4] + Array("user".utf8)) } throws: {
            ($0 as? RuntimeError)?.code == .corrupt
        }
        #expect { try TurnCodec.decodeTurn([1, 6] + Array("oracle".utf8) + [2, 0]) } throws: {
            ($0 as? RuntimeError)?.code == .corrupt
        }
    }
}
