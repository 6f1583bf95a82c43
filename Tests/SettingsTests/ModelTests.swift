import Core
import Testing

@testable import Settings

@Suite struct ModelTests {
    @Test(
        "Without models the built-in one answers, also under the name of the seed", arguments: ["{}", "{models: []}"])
    func standard(text: String) throws {
        let settings = try read(text)
        #expect(settings.models.count == 1)
        let model = try #require(settings.models.first)
        #expect(model.name == "igris-recall")
        #expect(model.engine == .builtin)
        #expect(model.aliases == ["phi3"])
        #expect(model.command == [])
        #expect(effective("models[0].name", in: settings) == #""igris-recall" from default"#)
    }

    @Test("A model of each engine is read whole")
    func whole() throws {
        let settings = try read(
            """
            { models: [
              { name: "demo", engine: "builtin", pace: 30, slots: 2 },
              { name: "q", engine: "stdio", command: ["./bin/llama-completion", "--mlock"], path: "q.gguf", context: 1e4,
                template: "command-r", threads: 4, slots: 3, aliases: ["a/b:c"] },
              { name: "own", engine: "stdio", protocol: "jsonl", command: ["engine"] },
              { name: "best", engine: "auto", path: "b.gguf", slots: 4, embeddings: true },
              { name: "server", engine: "llama-server", path: "/s.gguf", command: ["llama", "serve"], context: 4096 },
              { name: "office", engine: "remote", url: "https://office.lan:8000/v1", api_key: "${OFFICE_KEY:-k1}",
                remote_model: "big", capabilities: ["tools", "embeddings"] },
            ] }
            """)
        let models = settings.models
        #expect(models.map(\.name) == ["demo", "q", "own", "best", "server", "office"])
        #expect(models.map(\.engine) == [.builtin, .stdio, .stdio, .auto, .llamaServer, .remote])
        #expect(models.map(\.protocol) == [.completion, .completion, .jsonl] + Array(repeating: .completion, count: 3))
        #expect(models.map(\.pace) == [30, nil, nil, nil, nil, nil])
        #expect(models.map(\.slots) == [2, 3, nil, 4, nil, nil])
        #expect(
            models.map(\.command) == [
                [], ["/etc/igris/bin/llama-completion", "--mlock"], ["engine"], [], ["llama", "serve"], [],
            ])
        #expect(models.map(\.path) == [nil, "/etc/igris/q.gguf", nil, "/etc/igris/b.gguf", "/s.gguf", nil])
        #expect(models.map(\.context) == [nil, 10_000, nil, nil, 4_096, nil])
        #expect(models.map(\.template) == [nil, .commandR, nil, nil, nil, nil])
        #expect(models.map(\.threads) == [nil, 4, nil, nil, nil, nil])
        #expect(models.map(\.aliases) == [[], ["a/b:c"], [], [], [], []])
        #expect(models.map(\.embeddings) == [false, false, false, true, false, false])
        let office = try #require(models.last)
        #expect(office.url == "https://office.lan:8000/v1")
        #expect(office.apiKey?.reveal() == "k1")
        #expect(office.remoteModel == "big")
        #expect(office.capabilities == [.tools, .embeddings])
    }

    @Test("Workers are named or counted, and a fallback is another model")
    func workers() throws {
        let settings = try read(
            """
            { models: [
              { name: "big", engine: "llama-server", path: "b.gguf", workers: ["b", "c"], fallback: "phi3" },
              { name: "any", engine: "auto", path: "b.gguf", workers: 2 },
              { name: "small", engine: "builtin", aliases: ["phi3"] },
            ], rpc_worker: { enabled: true, command: ["./ggml-rpc-server", "-d", "CPU"], threads: 3 } }
            """)
        #expect(settings.models.map(\.workers) == [.named(["b", "c"]), .any(2), nil])
        #expect(settings.models.map(\.fallback) == ["phi3", nil, nil])
        #expect(
            settings.rpcWorker
                == Settings.RPCWorker(enabled: true, command: ["/etc/igris/ggml-rpc-server", "-d", "CPU"], threads: 3))
        #expect(try read("{}").rpcWorker == Settings.RPCWorker(enabled: false, command: [], threads: nil))
    }

    @Test(
        "Keys that do not go together are refused",
        arguments: [
            ("{engine: 'builtin'}", "1: models[0].name is required"),
            ("{name: 'a'}", "1: models[0].engine is required"),
            (
                "{name: '', engine: 'builtin'}",
                "8: models[0].name must be 1 to 200 bytes of printable text, not an empty text"
            ),
            ("{name: 'a', engine: 'auto'}", #"1: models[0].path is required for engine "auto""#),
            ("{name: 'a', engine: 'llama-server'}", #"1: models[0].path is required for engine "llama-server""#),
            ("{name: 'a', engine: 'remote'}", #"1: models[0].url is required for engine "remote""#),
            (
                "{name: 'a', engine: 'remote', url: 'http://x/v1', path: 'a'}",
                #"57: models[0].path has no meaning for engine "remote""#
            ),
            (
                "{name: 'a', engine: 'remote', url: 'http://me:secret@x/v1'}",
                "36: models[0].url must be http://HOST[:PORT]/PATH or https://… without password or query, not the text of "
                    + "21 bytes given"
            ),
            (
                "{name: 'a', engine: 'remote', url: 'http://x/v1', capabilities: ['tool']}",
                #"66: models[0].capabilities[0] must be "tools", "json_object", "json_schema", "logprobs", "#
                    + #""logit_bias", "embeddings", "raw_prompt", "partial" or "token_counts", not "tool": did you mean "tools"?"#
            ),
            (
                "{name: 'a', engine: 'llama-server', path: 'x', template: 'phi3'}",
                #"58: models[0].template has no meaning for engine "llama-server""#
            ),
            (
                "{name: 'a', engine: 'auto', path: 'x', workers: ['b', 'b']}",
                "49: models[0].workers names a host twice"
            ),
            (
                "{name: 'a', engine: 'auto', path: 'x', workers: 0}",
                "49: models[0].workers must be a whole number from 1 to 32, not 0"
            ),
            (
                "{name: 'a', engine: 'auto', path: 'x', workers: 'b'}",
                "49: models[0].workers must be a list of 1 to 32 names of hosts, or a whole number from 1 to 32, not text"
            ),
            (
                "{name: 'a', engine: 'builtin', workers: 1}",
                #"41: models[0].workers has no meaning for engine "builtin""#
            ),
            (
                "{name: 'a', engine: 'built-in'}",
                #"21: models[0].engine must be "auto", "builtin", "llama-server", "remote" or "stdio", not "built-in": did you mean "builtin"?"#
            ),
            (
                "{name: 'a', engine: 'builtin', command: ['x']}",
                #"41: models[0].command has no meaning for engine "builtin""#
            ),
            (
                "{name: 'a', engine: 'builtin', template: 'phi3'}",
                #"42: models[0].template has no meaning for engine "builtin""#
            ),
            (
                "{name: 'a', engine: 'builtin', protocol: 'jsonl'}",
                #"42: models[0].protocol has no meaning for engine "builtin""#
            ),
            ("{name: 'a', engine: 'stdio', path: 'x'}", #"1: models[0].command is required for protocol "completion""#),
            (
                "{name: 'a', engine: 'stdio', command: ['x']}",
                #"1: models[0].path is required for protocol "completion""#
            ),
            (
                "{name: 'a', engine: 'stdio', protocol: 'jsonl'}",
                #"1: models[0].command is required for protocol "jsonl""#
            ),
            (
                "{name: 'a', engine: 'stdio', command: [], path: 'x'}",
                "39: models[0].command must hold 1 to 1000 items, not 0"
            ),
            (
                "{name: 'a', engine: 'stdio', command: ['x'], path: 'x', pace: 1}",
                #"63: models[0].pace has no meaning for protocol "completion""#
            ),
            (
                "{name: 'a', engine: 'builtin', pace: 0}",
                "38: models[0].pace must be a number from 0.1 to 100000, not 0"
            ),
            (
                "{name: 'a', engine: 'builtin', slots: 65}",
                "39: models[0].slots must be a whole number from 1 to 64, not 65"
            ),
            (
                "{name: 'a', engine: 'remote', url: 'http://a/v1', slots: 4097}",
                "58: models[0].slots must be a whole number from 1 to 4096, not 4097"
            ),
            (
                "{name: 'a', engine: 'stdio', command: ['x'], path: 'x', context: 255}",
                "66: models[0].context must be a whole number from 256 to 10,000,000, not 255"
            ),
            (
                "{name: 'a', engine: 'stdio', command: ['x'], path: '${GGUF}'}",
                "52: models[0].path is required, and the environment variable GGUF is not set"
            ),
            (
                "{name: 'a', engine: 'stdio', protocol: 'jsonl', command: ['x'], slots: 2}",
                #"72: models[0].slots has no meaning for protocol "jsonl""#
            ),
            ("{name: 'a', engine: 'builtin', aliases: ['a']}", #"41: "a" already names the model "a""#),
            (
                "{name: 'a', engine: 'builtin', keep_alive: '10m'}",
                #"44: models[0].keep_alive has no meaning for engine "builtin""#
            ),
        ])
    func rules(item: String, expected: String) {
        #expect(problems("{models: [\n\(item)]}") == ["config.json5:2:\(expected)"])
    }

    @Test("A fallback is another model of this host", arguments: ["a", "alias", "nobody"])
    func fallback(name: String) {
        let text = "{models: [{name: 'a', engine: 'builtin', aliases: ['alias'], fallback: '\(name)'}]}"
        #expect(
            problems(text) == [
                #"config.json5:1:10: the fallback "\#(name)" of the model "a" is no other model of this host"#
            ])
    }

    @Test("No name or alias is taken twice")
    func names() {
        let text = """
            { models: [
              { name: "a", engine: "builtin", aliases: ["b"] },
              { name: "b", engine: "builtin" },
              { name: "c", engine: "builtin", aliases: ["a", "d", "d"] },
            ] }
            """
        #expect(
            problems(text) == [
                #"config.json5:3:11: "b" already names the model "a""#,
                #"config.json5:4:44: "a" already names the model "a""#,
                #"config.json5:4:44: "d" already names the model "c""#,
            ])
    }

    @Test("A list from a stronger source may repeat the names of a weaker one")
    func replaced() throws {
        let item = "[{name: 'a', engine: 'builtin'}]"
        let settings = try read("{models: \(item)}", environment: ["IGRIS_MODELS": item])
        #expect(settings.models.map(\.name) == ["a"])
        #expect(settings.effective.filter { $0.key == "models[0].name" }.count == 1)
    }

    @Test("Keys of clients are texts or objects, each one once")
    func clientKeys() throws {
        let settings = try read(
            "{auth: {keys: ['first-key', {name: 'laptop', key: '${K}'}]}}", environment: ["K": "second-key"])
        #expect(settings.auth.keys.map(\.name) == [nil, "laptop"])
        #expect(settings.auth.keys.map { $0.key.reveal() } == ["first-key", "second-key"])
        #expect(effective("auth.keys[1].key", in: settings) == #""<secret>" from config.json5:1:51"#)
        #expect(
            problems("{auth: {keys: ['first-key', {key: 'first-key'}]}}") == [
                "config.json5:1:35: auth.keys[1].key is the same as that of an earlier entry"
            ])
    }
}
