import Core
import Node
import Testing

/// `fallback`: another model answers while the one that is asked for cannot.
@Suite struct FallbackTests {
    private let big = ScriptedEngine()
    private let small = ScriptedEngine()

    private func world() async -> World {
        await World(
            engine: big,
            models: [
                Models.Entry(name: "m", aliases: ["alias"], kind: "scripted", engine: big, fallback: "s"),
                Models.Entry(name: "small", aliases: ["s"], kind: "scripted", engine: small),
            ])
    }

    @Test(
        "It answers where the first cannot, and the conversation has one question and one answer",
        arguments: [RuntimeError.Code.unavailable, .engineFailed])
    func answers(code: RuntimeError.Code) async throws {
        let world = await world()
        big.will(.fail(RuntimeError(code, "the worker on host b is lost")))
        #expect(try await world.ask(World.request("one", to: "c")).text == "answer 1")
        #expect(small.prompt == ["one"])
        #expect(try await world.ask(World.request("two", to: "c")).text == "answer 2", "the first is back")
        #expect(big.prompt == ["one", "answer 1", "two"])
        #expect(
            try await world.kept("c") == ["user:one", "assistant:answer 1", "user:two", "assistant:answer 2"])
    }

    @Test("What is wrong with the request is no reason for it")
    func refusals() async throws {
        let world = await world()
        big.will(.fail(RuntimeError(.invalidRequest, "no")))
        await #expect(throws: RuntimeError.self) { try await world.ask(World.request("one", off: true)) }
        #expect(small.requests.isEmpty)
    }

    @Test("An answer that broke off is not written on by another model")
    func middle() async throws {
        let world = await world()
        big.will(.text("half"), .fail(RuntimeError(.engineFailed, "the worker on host b is lost")))
        await #expect(throws: RuntimeError.self) { try await world.ask(World.request("one", to: "c")) }
        #expect(small.requests.isEmpty)
        #expect(try await world.kept("c") == ["user:one", "assistant:half(failed)"])
    }

    @Test("Where neither can, the error is the fallback's own")
    func neither() async throws {
        let world = await world()
        big.will(.fail(RuntimeError(.unavailable, "first")))
        small.will(.fail(RuntimeError(.unavailable, "second")))
        let error = await #expect(throws: RuntimeError.self) { try await world.ask(World.request("one", off: true)) }
        #expect(error?.message == "second")
    }
}
