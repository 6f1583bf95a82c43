import Core
import Node
import Testing

/// Tools: calls are kept with the conversation, whichever engine goes on with it.
@Suite struct ToolTests {
    private static let weather = Tool(name: "weather", parameters: ["type": "object"])
    private static let call = ToolCall(id: "call_1", name: "weather", arguments: #"{"city":"Oslo"}"#)

    private static func request(_ messages: [Message], offersTools: Bool = true) throws -> ChatRequest {
        var request = ChatRequest(
            model: "m", messages: messages, continuation: .conversation(try #require(ConversationID("c"))))
        if offersTools { request.shape.tools = [weather] }
        return request
    }

    @Test("A call, what the tool gave back, and the answer make one conversation")
    func exchange() async throws {
        let world = await World(engine: ScriptedEngine(capabilities: [.tools]))
        world.engine.will(
            .call(ToolCallPiece(index: 0, id: "call_1", name: "weather")),
            .call(ToolCallPiece(index: 0, arguments: #"{"city":"#)),
            .call(ToolCallPiece(index: 0, arguments: #""Oslo"}"#)), .finish(.toolCalls))
        try await world.ask(try Self.request([Message(.user, "weather?")]))
        #expect(world.engine.requests.last?.shape.tools == [Self.weather])

        let result = Message(.tool, "rain", toolCallID: "call_1")
        try await world.ask(try Self.request([result]))
        let asked = Message(.assistant, "", toolCalls: [Self.call])
        #expect(world.engine.requests.last?.messages == [Message(.user, "weather?"), asked, result])
        #expect(
            try await world.kept("c") == ["user:weather?", "assistant:(tool_calls)", "tool:rain", "assistant:answer 2"])

        // A client that sends everything again adds nothing.
        let whole = [
            Message(.user, "weather?"), asked, result, Message(.assistant, "answer 2"), Message(.user, "and?"),
        ]
        try await world.ask(try Self.request(whole))
        #expect(world.engine.requests.last?.messages == whole)
        #expect(try await world.kept("c").count == 6)
    }

    @Test("An engine without tools refuses them by name, and reads of earlier ones in words")
    func without() async throws {
        let world = await World()
        await #expect { try await world.ask(try Self.request([Message(.user, "weather?")])) } throws: {
            ($0 as? RuntimeError)?.parameter == "tools"
        }
        let messages = [
            Message(.user, "weather?"), Message(.assistant, "", toolCalls: [Self.call]),
            Message(.tool, "rain", toolCallID: "call_1"),
        ]
        try await world.ask(try Self.request(messages, offersTools: false))
        #expect(
            world.engine.requests.last?.messages == [
                Message(.user, "weather?"), Message(.assistant, #"[called weather with {"city":"Oslo"}]"#),
                Message(.user, "[the tool gave back] rain"),
            ])
    }

    @Test("A piece of a call that had not begun is the engine's failure")
    func strayPiece() async throws {
        let world = await World(engine: ScriptedEngine(capabilities: [.tools]))
        world.engine.will(.call(ToolCallPiece(index: 3, arguments: "x")), .finish(.toolCalls))
        await #expect { try await world.ask(try Self.request([Message(.user, "weather?")])) } throws: {
            ($0 as? RuntimeError)?.code == .engineFailed
        }
    }
}
