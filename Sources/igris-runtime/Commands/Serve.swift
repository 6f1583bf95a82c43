import ArgumentParser
import CLinux
import Core
import Glibc
import Settings

/// `igris-runtime --config F`: the daemon.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the daemon (the default).")

    @OptionGroup var settings: SettingsOptions

    func run() async throws {
        Terminal.fillMissingDescriptors()
        MemorySecrecy.begin()
        let settings = try settings.load()
        do {
            try await Runtime(settings: settings, environment: Environment.variables).run()
        } catch let error as RuntimeError {
            Terminal.complain(error.message)
            throw error.code == .configuration || error.code == .wrongKey ? Exit.settings : Exit.failure
        }
    }
}

/// What is in memory, keys and what people say, stays there: no core file, and nobody looks in but root.
enum MemorySecrecy {
    static func begin() {
        // Neither for engines, which inherit it and could raise a soft limit again.
        var none = rlimit()
        _ = setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        // Also for handlers of core files (kernel.core_pattern with a pipe), which no limit keeps away.
        _ = igris_forbid_dumps()
    }
}

/// Where the settings come from: the file, and flags that win over it.
struct SettingsOptions: ParsableArguments {
    @Option(help: "The settings file (JSON5); see config.example.json5.")
    var config: String?

    @Option(help: "The port to listen on; wins over server.port.")
    var port: String?

    @Option(help: "The address to listen on; wins over server.host.")
    var host: String?

    /// Prints every problem and ends with exit code 78 when there is one.
    func load() throws -> Settings { try Self.load(config: config, port: port, host: host) }

    static func load(config: String?, port: String?, host: String? = nil) throws -> Settings {
        var overrides = Overrides()
        overrides.set("server.port", to: port, by: "--port")
        overrides.set("server.host", to: host, by: "--host")
        do {
            return try Settings.load(file: config, flags: overrides, environment: Environment.variables)
        } catch {
            for problem in error.problems { Terminal.complain("\(problem)") }
            throw Exit.settings
        }
    }
}
