import ArgumentParser

/// The program: its subcommands, `serve` when none is named.
@main
struct IgrisRuntime: AsyncParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "igris-runtime",
        abstract: "Answers an OpenAI-compatible API from local models and keeps every conversation, encrypted.",
        usage: """
            igris-runtime --config config.json5 [--port N] [--host H]
            igris-runtime <subcommand>
            """,
        discussion: """
            Exit codes: 0 done, 1 failed, 64 wrong usage, 69 no daemon answers, 75 not done yet, 77 not permitted, \
            78 wrong settings; of doctor 0 nothing, 1 warnings, 2 failures.
            """,
        version: version,
        subcommands: [
            Serve.self, Check.self, Chat.self, Status.self, Peers.self, Doctor.self, Verify.self, DrainHost.self,
            Logs.self,
            SwarmVerbs.self, TokenVerbs.self, Audit.self, ConversationVerbs.self, ModelVerbs.self, Connect.self,
            ServerCertificateVerb.self, Backup.self, Restore.self, StoreVerbs.self, DebugVerbs.self, Demo.self,
            RunEngine.self,
        ],
        defaultSubcommand: Serve.self)
}

/// Exit codes of sysexits.h, as far as they are used here.
enum Exit {
    static let failure = ExitCode(1)
    static let usage = ExitCode(64)
    static let unavailable = ExitCode(69)
    static let tryAgain = ExitCode(75)
    static let denied = ExitCode(77)
    static let settings = ExitCode(78)
}
