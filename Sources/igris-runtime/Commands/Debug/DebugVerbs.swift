import ArgumentParser
import Core
import Glibc
import Settings

/// `igris-runtime debug …`
struct DebugVerbs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "debug", abstract: "Gather what helps others to find out what is wrong.",
        subcommands: [DebugBundling.self])
}

/// `igris-runtime debug bundle`
struct DebugBundling: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bundle", abstract: "Gather state, settings, metrics and log in one file, without secrets.",
        discussion: """
            What is in it is listed before it is written. No part holds prompts, answers, keys or tokens; names and \
            addresses of hosts and models are in it. Takes up to 15 seconds, also where no daemon answers.
            """)

    @OptionGroup var daemon: DaemonOptions

    @Flag(name: .shortAndLong, help: "Write it without asking, on a terminal too.")
    var yes = false

    @Flag(help: "Only list what would be in it.")
    var list = false

    @Argument(help: "The file to write; igris-debug-TIME.tar here if left out.", completion: .file())
    var file: String?

    func run() async throws {
        try await reporting {
            let settings = try daemon.settings()
            let seconds = UInt64(clamping: time(nil))
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let parts = await DebugBundle.gather(settings, client, at: seconds)
            for part in parts {
                let size = String(part.content.count)
                let padding = String(repeating: " ", count: max(1, 18 - part.name.count))
                let space = String(repeating: " ", count: max(0, 9 - size.count))
                Terminal.write("\(part.name)\(padding)\(space)\(size)  \(part.what)\n")
            }
            guard !list else { return }
            let stamp = Timestamp(since1970: seconds &* 1_000).description.prefix(19).filter { $0 != "-" && $0 != ":" }
            let path = file ?? "igris-debug-\(stamp)Z.tar"
            if Terminal.isInteractive, !yes {
                Terminal.write("write \(path)? [y/N] ")
                guard readLine()?.lowercased().hasPrefix("y") == true else { return Terminal.write("not written\n") }
            }
            var tar = TarFile()
            for part in parts { tar.add("igris-debug/\(part.name)", part.content, at: seconds) }
            tar.finish()
            try write(tar.bytes, to: path)
            Terminal.write("wrote \(path)\n")
        }
    }

    private func write(_ bytes: [UInt8], to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw RuntimeError(.configuration, "\(path) cannot be made: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + written }, buffer.count - written)
            }
            guard count > 0 else {
                unlink(path)
                throw RuntimeError(.system, "\(path) cannot be written: \(String(cString: strerror(errno)))")
            }
            written += count
        }
    }
}
