import ArgumentParser
import Core

/// `igris-runtime store …`
struct StoreVerbs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "Show or change the key that seals what this host keeps.",
        subcommands: [StoreKeyShowing.self, StoreKeyRotation.self], defaultSubcommand: StoreKeyShowing.self)

    static func words(_ status: JSON) -> String {
        let left = status["rows_left"]?.integer ?? 0
        let keys = status["keys"]?.integer ?? 1
        let made = Timestamp(since1970: UInt64(clamping: status["made"]?.integer ?? 0) &* 1_000)
        let rest =
            keys > 1
            ? "\(keys - 1) older still needed by at most \(left) rows, which are being sealed anew"
            : "no older one is kept"
        return "data key \(status["version"]?.integer ?? 0), made \(made); \(rest)\n"
    }
}

/// `igris-runtime store key`
struct StoreKeyShowing: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Show how the store's data keys stand; never a key itself.")

    @OptionGroup var page: PageOptions

    func run() async throws { try await page.show("/v1/admin/store/key", inWords: StoreVerbs.words) }
}

/// `igris-runtime store rotate-key`
struct StoreKeyRotation: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate-key",
        abstract: "Seal with a fresh data key, seal all older rows anew, and destroy the older keys.",
        discussion: """
            By itself that happens every 90 days, and a minute to a day after something was deleted. Where the \
            store is sealed with this machine's own key, copies of its file from before open no more afterwards: \
            igris-runtime backup makes those that do. The swarm's key is another one: igris-runtime swarm rotate.
            """)

    @OptionGroup var page: PageOptions

    @Option(help: "Seconds to wait for the end; 0 only begins.")
    var wait = 60

    func validate() throws {
        guard (0...86_400).contains(wait) else { throw ValidationError("--wait takes 0 to 86400") }
    }

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            var status = try await client.send(.post, "/v1/admin/store/key").json()
            let deadline = ContinuousClock.now + .seconds(wait)
            while (status["keys"]?.integer ?? 1) > 1, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(100))
                status = try await client.send(.get, "/v1/admin/store/key").json()
            }
            Terminal.write(page.json ? status.text + "\n" : StoreVerbs.words(status))
            guard wait > 0, (status["keys"]?.integer ?? 1) > 1 else { return }
            Terminal.complain("not done yet; it goes on by itself: igris-runtime store key")
            throw Exit.tryAgain
        }
    }
}
