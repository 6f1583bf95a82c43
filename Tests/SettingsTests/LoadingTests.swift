import Core
import Testing

@testable import Settings

@Suite struct LoadingTests {
    private func model(_ keys: String) throws -> Settings.Model? {
        try read("{models: [{name: 'm', \(keys)}]}").models.first
    }

    @Test("What holds weights is loaded on demand and goes after ten minutes; the rest is there all the time")
    func defaults() throws {
        for engine in ["auto", "llama-server"] {
            let model = try model("engine: '\(engine)', path: '/m.gguf'")
            #expect(model?.keepAlive == .loaded(.seconds(600)) && model?.load == .demand)
        }
        let own = try model("engine: 'stdio', protocol: 'jsonl', command: ['x']")
        #expect(own?.keepAlive == .forever && own?.load == .start)
        #expect(try read("{}").node.modelsMemory == nil)
    }

    @Test(
        "How long a model stays is a duration, nothing, or for ever",
        arguments: [
            ("'5m'", KeepAlive.loaded(.seconds(300))), ("'1h30m'", .loaded(.seconds(5_400))), ("0", .unloaded),
            ("'0'", .unloaded), ("-1", .forever), ("'-1'", .forever), ("'forever'", .forever),
            ("90", .loaded(.seconds(90))),
        ])
    func durations(text: String, expected: KeepAlive) throws {
        let model = try model("engine: 'auto', path: '/m.gguf', keep_alive: \(text)")
        #expect(model?.keepAlive == expected)
        // What shall always be there is loaded at once, unless the settings say otherwise.
        #expect(model?.load == (expected == .forever ? .start : .demand))
    }

    @Test(
        "What cannot be kept or loaded is refused by its key",
        arguments: [
            ("engine: 'auto', path: '/m.gguf', keep_alive: 'ever'", "keep_alive"),
            ("engine: 'auto', path: '/m.gguf', keep_alive: true", "keep_alive"),
            ("engine: 'auto', path: '/m.gguf', load: 'never'", "load"),
            ("engine: 'builtin', keep_alive: '5m'", "keep_alive has no meaning"),
            ("engine: 'remote', url: 'http://h/v1', load: 'start'", "load has no meaning"),
            ("engine: 'stdio', command: ['x'], path: '/m.gguf', keep_alive: 0", "keep_alive has no meaning"),
        ])
    func refusals(keys: String, word: String) {
        let found = problems("{models: [{name: 'm', \(keys)}]}")
        #expect(found.count == 1 && found.first?.contains(word) == true, "\(found)")
    }

    @Test("The memory of all models is a size")
    func memory() throws {
        #expect(try read("{node: {models_memory: '12GiB'}}").node.modelsMemory == 12 << 30)
        #expect(try read("{}", environment: ["IGRIS_NODE_MODELS_MEMORY": "500MB"]).node.modelsMemory == 500_000_000)
        #expect(problems("{node: {models_memory: 'much'}}").count == 1)
    }
}
