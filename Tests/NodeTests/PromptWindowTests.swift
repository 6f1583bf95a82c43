import Core
import Node
import Testing

@Suite struct PromptWindowTests {
    private static let cost = TokenCost(perByte: 1, perMessage: 4, fixed: 2, isExact: true)

    private static func history(_ exchanges: Int, size: Int = 20) -> [Message] {
        (0..<exchanges).flatMap { index in
            let text = String("\(index) " + String(repeating: "x", count: size)).prefix(size)
            return [Message(.user, "q\(text)"), Message(.assistant, "a\(text)")]
        }
    }

    private static func window(
        instructions: [Message] = [], _ history: [Message], new: [Message] = [Message(.user, "now")],
        maximumTokens: Int? = nil, context: Int
    ) throws(RuntimeError) -> PromptWindow {
        try PromptWindow(
            instructions: instructions, history: history, new: new, maximumTokens: maximumTokens,
            contextLength: context, cost: cost)
    }

    @Test("Nothing is left out while all fits beside the answer", arguments: [16, 100, nil] as [Int?])
    func fits(maximumTokens: Int?) throws {
        let history = Self.history(30)
        let system = [Message(.system, "be brief")]
        let new = [Message(.user, "now")]
        let prompt = Self.cost.tokens(of: system + history + new)
        let reserve = maximumTokens ?? 1_024
        let window = try Self.window(
            instructions: system, history, new: new, maximumTokens: maximumTokens,
            context: max(prompt + reserve, reserve * 4))
        #expect(window.messages == system + history + new)
        #expect(window.report.omitted == 0)
        #expect(window.report.included == 62)
        #expect(window.report.promptTokens == prompt)
        #expect(window.maximumTokens >= min(reserve, 1_024))
    }

    @Test("What tools gave back stays with the calls and the question, however small the window")
    func toolResults() throws {
        let call = ToolCall(id: "1", name: "weather", arguments: "{}")
        let exchange = [
            Message(.user, "now"), Message(.assistant, "", toolCalls: [call]), Message(.tool, "rain", toolCallID: "1"),
        ]
        let size = Self.cost.tokens(of: exchange)
        let window = try Self.window(
            Self.history(9) + exchange.dropLast(), new: exchange.suffix(1), context: size + 10)
        #expect(window.messages == exchange)
        #expect(throws: RuntimeError.self) {
            try Self.window(exchange.dropLast(), new: exchange.suffix(1), context: size)
        }
    }

    @Test("The tools take room in the window")
    func tools() throws {
        let tool = Tool(name: String(repeating: "t", count: 50))
        let new = [Message(.user, "now")]
        let required = Self.cost.tokens(of: new)
        _ = try Self.window([], context: required + 1)
        #expect(throws: RuntimeError.self) {
            try PromptWindow(
                instructions: [], history: [], new: new, maximumTokens: 1, contextLength: required + 50,
                cost: Self.cost, shape: AnswerShape(tools: [tool]))
        }
    }

    @Test("What is left out are whole old exchanges, and they are counted")
    func wholeExchanges() throws {
        let history = Self.history(100)
        let system = [Message(.system, "be brief")]
        let window = try Self.window(instructions: system, history, context: 1_000)
        let omitted = window.report.omitted
        #expect(omitted > 0)
        #expect(omitted.isMultiple(of: 2))
        #expect(window.messages == system + Array(history[omitted...]) + [Message(.user, "now")])
        #expect(window.report.included + omitted == 202)
        // It is not cut to nearly nothing either.
        #expect(window.report.promptTokens > 300)
    }

    @Test(
        "Over a long conversation the prompt's beginning stays the same for many turns",
        arguments: [0, 500, 1_500, 2_500], [nil, 64, 2_000] as [Int?])
    func stablePrefix(instructionBytes: Int, maximumTokens: Int?) throws {
        let system = [Message(.system, String(repeating: "s", count: instructionBytes))]
        let history = Self.history(600, size: 30)
        var moves = 0
        var last = 0
        for turn in 0..<600 {
            let window = try Self.window(
                instructions: system, Array(history.prefix(turn * 2)), new: [history[turn * 2]],
                maximumTokens: maximumTokens, context: 4_096)
            let start = window.report.omitted
            #expect(start >= last)
            if start != last { moves += 1 }
            last = start
        }
        // 600 exchanges of 70 tokens pass through a window of some 600 to 3,500; each move makes half of it free.
        let room = 4_096 - 2 - 4 - instructionBytes - min(maximumTokens ?? 1_024, 1_024)
        #expect(moves <= 600 * 70 / (room / 2 - 140) + 2)
        #expect(moves > 5)
    }

    @Test("A new turn that leaves no room for a single token is refused", arguments: [0, 1, 2])
    func tooLong(spare: Int) throws {
        let new = [Message(.user, String(repeating: "x", count: 100))]
        let size = Self.cost.tokens(of: new)
        if spare == 0 {
            #expect { try Self.window([], new: new, context: size) } throws: {
                let error = $0 as? RuntimeError
                return error?.code == .contextLengthExceeded && error?.parameter == "messages"
                    && "\($0)".contains("\(size)")
            }
        } else {
            #expect(try Self.window([], new: new, context: size + spare).maximumTokens <= spare)
        }
    }

    @Test("Prompt and answer together never exceed the context, whatever comes in")
    func property() throws {
        var random = SystemRandomNumberGenerator.seeded(77)
        for round in 0..<1_000 {
            func message(_ role: Message.Role) -> Message {
                Message(role, String(repeating: "x", count: Int.random(in: 0...80, using: &random)))
            }
            let system = Bool.random(using: &random) ? [message(.system)] : []
            let history = (0..<Int.random(in: 0...30, using: &random)).map { _ in
                message(Int.random(in: 0...2, using: &random) > 0 ? .user : .assistant)
            }
            let context = Int.random(in: 1...1_000, using: &random)
            let asked = [nil, 1, 5, 100, 10_000, .max, 0, -5, .min][Int.random(in: 0...8, using: &random)]
            guard
                let window = try? Self.window(
                    instructions: system, history, new: [message(.user)], maximumTokens: asked, context: context)
            else { continue }
            #expect(window.report.promptTokens == Self.cost.tokens(of: window.messages), "round \(round)")
            #expect(window.maximumTokens >= 1, "round \(round)")
            #expect(window.report.promptTokens + window.maximumTokens <= context, "round \(round)")
            #expect(
                window.report.included + window.report.omitted == system.count + history.count + 1, "round \(round)")
            let kept = Array(window.messages.dropFirst(system.count).dropLast())
            #expect(kept == Array(history.suffix(kept.count)), "round \(round)")
            #expect(window.report.omitted == 0 || kept.first?.role != .assistant, "round \(round)")
            if let asked, asked > 0 { #expect(window.maximumTokens <= asked, "round \(round)") }
        }
    }
}

extension SystemRandomNumberGenerator {
    /// SplitMix64: the same numbers for the same seed.
    struct Seeded: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    static func seeded(_ seed: UInt64) -> Seeded { Seeded(state: seed) }
}
