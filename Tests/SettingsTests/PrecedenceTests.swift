import Core
import Testing

@testable import Settings

@Suite struct PrecedenceTests {
    @Test(
        "The stronger source stands: flag, variable, file, default",
        arguments: [
            (false, false, false, 8_080, "8080 from default"), (true, false, false, 1, "1 from config.json5:1:17"),
            (false, true, false, 2, "2 from environment IGRIS_SERVER_PORT"),
            (true, true, false, 2, "2 from environment IGRIS_SERVER_PORT"),
            (false, false, true, 3, "3 from flag --port"),
            (true, false, true, 3, "3 from flag --port"), (true, true, true, 3, "3 from flag --port"),
        ])
    func precedence(file: Bool, variable: Bool, flag: Bool, port: Int, origin: String) throws {
        var flags = Overrides()
        flags.set("server.port", to: flag ? "3" : nil, by: "--port")
        let settings = try read(
            file ? "{server: {port: 1}}" : "{}", flags: flags, environment: variable ? ["IGRIS_SERVER_PORT": "2"] : [:])
        #expect(settings.server.port == port)
        #expect(effective("server.port", in: settings) == origin)
    }

    @Test(
        "The encryption key comes from its own variable where nothing else gives one",
        arguments: [
            ("{}", [:], nil, "null from default"),
            ("{}", ["MCP_ENCRYPTION_KEY": "own"], "own", "environment MCP_ENCRYPTION_KEY"),
            ("{mcp: {encryption_key: 'file'}}", ["MCP_ENCRYPTION_KEY": "own"], "file", "config.json5:1:24"),
            (
                "{mcp: {encryption_key: '${NONE}'}}", ["MCP_ENCRYPTION_KEY": "own"], "own",
                "environment MCP_ENCRYPTION_KEY"
            ),
            (
                "{mcp: {encryption_key: 'file'}}", ["IGRIS_MCP_ENCRYPTION_KEY": "igris", "MCP_ENCRYPTION_KEY": "own"],
                "igris", "environment IGRIS_MCP_ENCRYPTION_KEY"
            ), ("{}", ["MCP_ENCRYPTION_KEY": ""], nil, "null from default"),
        ] as [(String, [String: String], String?, String)])
    func encryptionKey(text: String, environment: [String: String], key: String?, origin: String) throws {
        let settings = try read(text, environment: environment)
        #expect(settings.mcp.encryptionKey?.reveal() == key)
        let shown = key == nil ? origin : "\"<secret>\" from \(origin)"
        #expect(effective("mcp.encryption_key", in: settings) == shown)
    }

    @Test("A variable of each form sets its key")
    func forms() throws {
        let settings = try read(
            "{}",
            environment: [
                "IGRIS_SERVER_HOST": "::1", "IGRIS_SERVER_ALLOWED_HOSTS": "A.example, b.example",
                "IGRIS_MCP_PERSIST": "false",
                "IGRIS_AUTH_KEYS": "first-key,second-key", "IGRIS_AUTH_IP_ALLOWLIST": "['10.0.0.0/8']",
                "IGRIS_LOG_LEVEL": "debug", "IGRIS_MCP_STORAGE_PATH": "${literal}.db",
                "IGRIS_MODELS": "[{name: 'a', engine: 'stdio', protocol: 'jsonl', command: ['x']}]",
            ])
        #expect(settings.server.host == "::1")
        #expect(settings.server.allowedHosts == ["a.example", "b.example"])
        #expect(!settings.mcp.persist)
        #expect(settings.auth.keys.map { $0.key.reveal() } == ["first-key", "second-key"])
        #expect(settings.auth.ipAllowlist.map(\.description) == ["10.0.0.0/8"])
        #expect(settings.log.level == .debug)
        #expect(settings.mcp.storagePath == "/etc/igris/${literal}.db")
        #expect(settings.models.map(\.name) == ["a"])
        #expect(effective("models[0].name", in: settings) == #""a" from environment IGRIS_MODELS"#)
        #expect(!settings.effective.contains { $0.key == "models[0].aliases" && $0.source != .default })
    }

    @Test(
        "A wrong variable or flag is named",
        arguments: [
            ("IGRIS_SERVER_PORT", "http", "server.port must be a whole number from 0 to 65,535, not text"),
            ("IGRIS_SERVER_PORT", "0x10000", "server.port must be a whole number from 0 to 65,535, not 65536"),
            ("IGRIS_MCP_PERSIST", "yes", "mcp.persist must be true or false, not text"),
            ("IGRIS_MODELS", "[{name: 'a',\n engine: }]", #"2:10: a value was expected, not "}""#),
            (
                "IGRIS_MODELS", "[{name: 'a', engin: 1, engine: 'builtin'}]",
                #"1:14: unknown key "engin" in models[0]: did you mean "engine"?"#
            ),
            ("IGRIS_MODELS", "igris-recall", "models must be a list of objects, not text"),
        ])
    func wrongVariable(name: String, text: String, message: String) {
        let separator = message.first?.isNumber == true ? ":" : ": "
        #expect(problems("{}", environment: [name: text]) == ["\(name)\(separator)\(message)"])
    }

    @Test("A wrong flag is named, and so is a flag for no key")
    func wrongFlag() {
        var flags = Overrides()
        flags.set("server.port", to: "70000", by: "--port")
        flags.set("server.prot", to: "1", by: "--prot")
        #expect(
            problems("{}", flags: flags) == [
                "--port: server.port must be a whole number from 0 to 65,535, not 70000",
                #"--prot: sets "server.prot", which is no key"#,
            ])
    }

    @Test("A variable with our prefix and no key is told, not refused")
    func unknownVariable() throws {
        let settings = try read(
            "{}", environment: ["IGRIS_SERVER_PROT": "1", "IGRIS_SERVICE_HOST": "10.0.0.1", "IGRISX": "1"])
        #expect(
            settings.notices == [
                #"environment "IGRIS_SERVER_PROT" sets no key: did you mean IGRIS_SERVER_PORT?"#,
                #"environment "IGRIS_SERVICE_HOST" sets no key: did you mean IGRIS_SERVER_HOST?"#,
            ])
    }
}
