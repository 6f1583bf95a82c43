import ArgumentParser
import Core

/// `igris-runtime token …`: who may use the swarm from elsewhere.
struct TokenVerbs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Make, list and revoke the tokens of clients; they hold on every host.",
        discussion: """
            A token opens every host of the swarm from anywhere, as "Authorization: Bearer TOKEN" or "x-api-key: TOKEN". \
            Only on a machine of the swarm itself, or with a token of the scope admin in $IGRIS_API_KEY.
            """,
        subcommands: [TokenMaking.self, TokensThereAre.self, TokenRevocation.self],
        defaultSubcommand: TokensThereAre.self)
}

/// `igris-runtime token new NAME`
struct TokenMaking: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new", abstract: "Make a token, and show it once.",
        discussion: """
            Its name says who uses it: conversations belong to the name, so that a new token of the same name goes on \
            with them.
            """)

    @OptionGroup var page: PageOptions

    @Argument(help: "Who or what will use it: letters, digits and any of . _ - @")
    var name: String

    @Option(
        help: """
            What it is for: chat (answers and one's own conversations), read (the state of hosts and swarm), admin \
            (everything). Again for more; chat if left out.
            """)
    var scope: [String] = []

    @Option(help: "The only models that it may ask, with commas between them. All if left out.")
    var models: String?

    @Option(help: "How long it is good for: 30d, 12h, 90m or 45s. For ever if left out.")
    var expires: String?

    @Option(help: "How many requests a minute it may send to each host: 60/min. As many as come if left out.")
    var rate: String?

    func validate() throws {
        if let expires, Self.seconds(expires) == nil { throw ValidationError("--expires takes 30d, 12h, 90m or 45s") }
        if let rate, Self.perMinute(rate) == nil { throw ValidationError("--rate takes a number a minute: 60/min") }
    }

    func run() async throws {
        try await reporting {
            var body = JSON.Object()
            body["name"] = .string(name)
            if !scope.isEmpty { body["scopes"] = .array(scope.map { .string($0) }) }
            if let models {
                body["models"] = .array(models.split(separator: ",").map { .string(String($0)) })
            }
            if let expires { body["expires_in"] = Self.seconds(expires).map { .integer($0) } }
            if let rate { body["rate_per_minute"] = Self.perMinute(rate).map { .integer($0) } }
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            let reply = try await client.send(.post, "/v1/admin/tokens", json: .object(body)).json()
            if page.json { return Terminal.write(reply.text + "\n") }
            // The token alone on standard output, for scripts; what people want to know beside it.
            Terminal.write((reply["token"]?.string ?? "") + "\n")
            let words = (reply["scopes"]?.array ?? []).compactMap(\.string).joined(separator: ", ")
            Terminal.complain(
                "made \(reply["id"]?.string ?? "") for \(name) (\(words)) \(TokenWords.spread(reply["hosts"])); it is not "
                    + "shown again")
        }
    }

    static func seconds(_ text: String) -> Int64? {
        let units: [(unit: Character, seconds: Int64)] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
        guard let unit = units.first(where: { $0.unit == text.last }), let number = Int64(text.dropLast()), number > 0
        else { return nil }
        let (seconds, overflow) = number.multipliedReportingOverflow(by: unit.seconds)
        return overflow ? nil : seconds
    }

    static func perMinute(_ text: String) -> Int64? {
        guard let number = Int64(text.hasSuffix("/min") ? text.dropLast(4) : Substring(text)), number > 0 else {
            return nil
        }
        return number
    }
}

/// `igris-runtime token ls`
struct TokensThereAre: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "List the tokens; never their text.")

    @OptionGroup var page: PageOptions

    @Flag(help: "Also those that were revoked.")
    var all = false

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            let tokens = try await client.send(.get, "/v1/admin/tokens").json()["data"]?.array ?? []
            let shown = tokens.filter { all || $0["state"]?.string != "revoked" }
            if page.json { return Terminal.write(JSON.array(shown).text + "\n") }
            guard !shown.isEmpty else {
                return Terminal.write("there are none; make one: igris-runtime token new NAME\n")
            }
            var table = Table("NAME", "ID", "SCOPES", "MODELS", "RATE", "MADE", "EXPIRES", "STATE")
            for token in shown {
                table.add(
                    token["name"]?.string, token["id"]?.string, Self.list(token["scopes"]),
                    Self.list(token["models"]) ?? "all", token["rate_per_minute"]?.integer.map { "\($0)/min" },
                    Self.day(token["created"]), Self.day(token["expires"]) ?? "never", token["state"]?.string)
            }
            Terminal.write(table.text)
        }
    }

    private static func list(_ json: JSON?) -> String? {
        let words = (json?.array ?? []).compactMap(\.string)
        return words.isEmpty ? nil : words.joined(separator: ",")
    }

    private static func day(_ json: JSON?) -> String? {
        json?.integer.map { String(Timestamp(milliseconds: $0 &* 1_000).description.prefix(16)) + "Z" }
    }
}

/// `igris-runtime token revoke NAME|ID`
struct TokenRevocation: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Let a token open nothing any more, on all hosts; its open streams end.")

    @OptionGroup var page: PageOptions

    @Argument(help: "The token's name or id, as igris-runtime token ls shows it.")
    var name: String

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            let path = "/v1/admin/tokens/\(DaemonClient.escaped(name))"
            let reply = try await client.send(.delete, path).json()
            if page.json { return Terminal.write(reply.text + "\n") }
            let ids = (reply["revoked"]?.array ?? []).compactMap(\.string).joined(separator: ", ")
            Terminal.write("revoked \(ids) \(TokenWords.spread(reply["hosts"]))\n")
        }
    }
}

enum TokenWords {
    /// `on 2 of 3 hosts; the others follow as soon as they are linked`
    static func spread(_ hosts: JSON?) -> String {
        let (have, all) = (hosts?["have_it"]?.integer ?? 1, hosts?["of"]?.integer ?? 1)
        if have >= all { return all == 1 ? "on this host" : "on all \(all) hosts" }
        return "on \(have) of \(all) hosts; the others follow as soon as they can be reached"
    }
}
