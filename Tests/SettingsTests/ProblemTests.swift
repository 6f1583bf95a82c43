import Core
import Testing

@testable import Settings

@Suite struct ProblemTests {
    @Test(
        "One mistake gives one message with its place",
        arguments: [
            // Names
            ("{\n  sever: {}\n}", #"2:3: unknown key "sever": did you mean "server"?"#),
            ("{server: {prot: 1}}", #"1:11: unknown key "prot" in server: did you mean "port"?"#),
            (
                "{mcp: {encyption_key: 'x'}}",
                #"1:8: unknown key "encyption_key" in mcp: did you mean "encryption_key"?"#
            ),
            (
                "{mcp: {encryptionKey: 'x'}}",
                #"1:8: unknown key "encryptionKey" in mcp: did you mean "encryption_key"?"#
            ),
            ("{mcp: {'storage-path': 'x'}}", #"1:8: unknown key "storage-path" in mcp: did you mean "storage_path"?"#),
            ("{port: 8080}", #"1:2: unknown key "port": did you mean "server.port"?"#),
            ("{log: {colour: true}}", #"1:8: unknown key "colour" in log: the keys here are level, format"#),
            (
                "{mcp: {zeroconf: true}}",
                #"1:8: unknown key "zeroconf" in mcp: the keys here are enabled, mdns, multicast, multicast_port, mesh_limit, seeds, open, persist, storage_path, encryption_key, default_conversation"#
            ),
            ("{server: {port: 1,\n  port: 2}}", #"2:3: duplicate key "port"; the first one is on line 1"#),
            ("{log: {}, log: {}}", #"1:11: duplicate key "log"; the first one is on line 1"#),
            // Types and ranges
            ("[]", "1:1: the settings must be an object, not a list"),
            ("{server: 8080}", "1:10: server must be an object, not a number"),
            ("{server: {port: '8080'}}", "1:17: server.port must be a whole number from 0 to 65,535, not text"),
            ("{server: {port: 65536}}", "1:17: server.port must be a whole number from 0 to 65,535, not 65536"),
            ("{server: {port: -1}}", "1:17: server.port must be a whole number from 0 to 65,535, not -1"),
            ("{server: {port: 80.5}}", "1:17: server.port must be a whole number from 0 to 65,535, not 80.5"),
            ("{server: {port: Infinity}}", "1:17: server.port must be a whole number from 0 to 65,535, not Infinity"),
            ("{server: {port: NaN}}", "1:17: server.port must be a whole number from 0 to 65,535, not NaN"),
            ("{server: {port: null}}", "1:17: server.port must be a whole number from 0 to 65,535, not null"),
            ("{server: {host: ''}}", "1:17: server.host must be an address or a host name, not an empty text"),
            ("{server: {host: 'a b'}}", #"1:17: server.host must be an address or a host name, not "a b""#),
            ("{server: {host: 'a\\nb'}}", "1:17: server.host holds a control character"),
            (
                "{server: {allowed_hosts: 'a'}}",
                "1:26: server.allowed_hosts must be a list, each item a host name or an address without a port, not text"
            ),
            (
                "{server: {allowed_hosts: ['a', 'b:80']}}",
                #"1:32: server.allowed_hosts[1] must be a host name or an address without a port, not "b:80""#
            ),
            ("{mcp: {mdns: 'yes'}}", "1:14: mcp.mdns must be true or false, not text"),
            ("{mcp: {multicast_port: 0}}", "1:24: mcp.multicast_port must be a whole number from 1 to 65,535, not 0"),
            ("{mcp: {storage_path: {}}}", "1:22: mcp.storage_path must be a path, not an object"),
            (
                "{mcp: {storage_path: '~/x'}}",
                #"1:22: mcp.storage_path begins with "~", and the home folder is not known; write the whole path"#
            ),
            (
                "{mcp: {encryption_key: ''}}",
                "1:24: mcp.encryption_key must be 1 to 1024 bytes of text, not an empty text"
            ),
            (
                "{log: {level: 'warn'}}",
                #"1:15: log.level must be "trace", "debug", "info", "notice", "warning", "error" or "critical", not "warn""#
            ),
            (
                "{log: {level: 'infos'}}",
                #"1:15: log.level must be "trace", "debug", "info", "notice", "warning", "error" or "critical", not "infos": did you mean "info"?"#
            ),
            (
                "{context: {durability: 'majority'}}",
                #"1:24: context.durability must be "first", "fsync" or "quorum", not "majority""#
            ),
            (
                "{auth: {ip_allowlist: ['10.0.0.0/33']}}",
                #"1:24: auth.ip_allowlist[0] must be an address or a CIDR block as 192.168.0.0/16, not "10.0.0.0/33""#
            ),
            (
                "{auth: {ip_allowlist: ['10.1.2.3/8']}}",
                #"1:24: auth.ip_allowlist[0] "10.1.2.3/8" is both a block and an address in it: write "10.0.0.0/8" or "10.1.2.3""#
            ),
            (
                "{auth: {keys: 'abcdefgh'}}",
                #"1:15: auth.keys must be a list of objects, or of texts that are their "key", not text"#
            ),
            ("{auth: {keys: [{name: 'a'}]}}", "1:16: auth.keys[0].key is required"),
            ("{auth: {keys: [8]}}", "1:16: auth.keys[0] must be an object, not a number"),
            // References
            ("{server: {host: '${A'}}", "1:17: server.host cannot be read: a reference ${ has no }"),
            (
                "{server: {host: '${A-b}'}}",
                "1:17: server.host cannot be read: a reference is ${NAME} or ${NAME:-default}; write $${ for the characters themselves"
            ),
            ("{server: {port: '${PORT}'}}", "1:17: server.port must be a whole number from 0 to 65,535, not text"),
            (
                "{auth: {keys: ['${LAPTOP}']}}",
                "1:16: auth.keys[0].key is required, and the environment variable LAPTOP is not set"
            ),
            // Syntax: the first mistake ends the reading.
            ("{server: {port: 8080ms, prot: 1}}", #"1:21: this number goes on with "m"; text stands in quotes"#),
        ])
    func single(text: String, expected: String) {
        #expect(problems(text) == ["config.json5:\(expected)"])
    }

    @Test("All problems are told at once, from top to bottom")
    func allAtOnce() {
        let text = """
            {
              log: { level: "loud", levle: 1 },
              models: [{ engine: "builtin" }, { name: "a", engine: "remote" }],
              server: { port: 99999, port: 1 },
              mcp: { persist: 1, x: 2 },
            }
            """
        #expect(
            problems(text, environment: ["IGRIS_AUTH_LAN": "shut"]) == [
                #"config.json5:2:17: log.level must be "trace", "debug", "info", "notice", "warning", "error" or "critical", not "loud""#,
                #"config.json5:2:25: unknown key "levle" in log: did you mean "level"?"#,
                "config.json5:3:12: models[0].name is required",
                #"config.json5:3:35: models[1].url is required for engine "remote""#,
                "config.json5:4:19: server.port must be a whole number from 0 to 65,535, not 99999",
                #"config.json5:4:26: duplicate key "port"; the first one is on line 4"#,
                "config.json5:5:19: mcp.persist must be true or false, not a number",
                #"config.json5:5:22: unknown key "x" in mcp: the keys here are enabled, mdns, multicast, multicast_port, mesh_limit, seeds, open, persist, storage_path, encryption_key, default_conversation"#,
                #"IGRIS_AUTH_LAN: auth.lan must be "key" or "open", not "shut""#,
            ])
    }

    @Test("No message shows a secret")
    func secrets() {
        let secret = "hunter2-hunter2 "
        let text = """
            { mcp: { encryption_key: ["\(secret)"] },
              auth: { keys: ["\(secret)", { key: "é\(secret)" }, { key: { "a": "\(secret)" } }] } }
            """
        let environment = ["MCP_ENCRYPTION_KEY": "\u{07}\(secret)", "IGRIS_AUTH_KEYS": "[\"\(secret)\"]"]
        let told = problems(text, environment: environment)
        #expect(told.count == 6)
        #expect(!told.joined().contains("hunter2"))
    }

    @Test("Past a hundred problems the others are counted")
    func bounded() {
        let text = "{\((0..<5_000).map { "unknown\($0): 1" }.joined(separator: ",\n"))}"
        let told = problems(text)
        #expect(told.count == Problem.mostShown + 1)
        #expect(told.last == "config.json5: 4900 further problems are not shown")
        #expect(
            told.first
                == #"config.json5:1:2: unknown key "unknown0": the keys here are server, models, mcp, node, context, routing, queue, scaling, auth, tls, rpc_worker, log"#
        )
        let items = problems("{server: {allowed_hosts: [\(String(repeating: "1,", count: 100))]}, log: 1, mcp: 2}")
        #expect(items.last == "config.json5: 2 further problems are not shown")
    }

    @Test(
        "A file that cannot be one is refused by name",
        arguments: [
            ("/nonexistent/config.json5", "cannot be opened: No such file or directory"),
            ("/", "is not a regular file"),
            ("/dev/zero", "is not a regular file"),
        ])
    func files(path: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try Settings.load(file: path, environment: [:]) }
        #expect(error?.problems.map(\.description) == ["\(path): \(message)"])
    }
}
