import Core
import Glibc
import Testing

@testable import Settings

/// Files on disk, in a folder of their own.
@Suite final class SettingsFileTests {
    private let folder: String

    init() throws {
        var template = Array("/tmp/igris-settings-XXXXXX".utf8CString)
        folder = String(cString: try #require(mkdtemp(&template)))
    }

    deinit {
        for name in ["config.json5", "pipe"] { unlink("\(folder)/\(name)") }
        rmdir(folder)
    }

    private func write(_ text: String, mode: mode_t = 0o600) throws -> String {
        let path = "\(folder)/config.json5"
        let file = try #require(fopen(path, "w"))
        fputs(text, file)
        fclose(file)
        try #require(chmod(path, mode) == 0)
        return path
    }

    @Test("A file is read, and its relative paths begin beside it")
    func load() throws {
        let path = try write("{server: {port: 1}}")
        let settings = try Settings.load(file: path, environment: [:])
        #expect(settings.server.port == 1)
        #expect(settings.mcp.storagePath == "\(folder)/mcp_contexts.db")
        #expect(effective("server.port", in: settings) == "1 from \(path):1:17")
    }

    @Test("A relative name of the file is relative to the working directory")
    func relative() throws {
        let name = try write("{}").split(separator: "/").suffix(2).joined(separator: "/")
        // The file itself is opened from the process's own directory: only the folder is worked out here.
        #expect(Surroundings(environment: [:], folder: "/tmp").folder(ofFile: name) == folder)
    }

    @Test(
        "A secret in a file that others may read is told",
        arguments: [
            ("{mcp: {encryption_key: 'abc'}}", 0o644, true), ("{mcp: {encryption_key: 'abc'}}", 0o640, false),
            ("{mcp: {encryption_key: '${K}'}}", 0o644, false), ("{auth: {keys: ['12345678']}}", 0o604, true),
            ("{}", 0o644, false),
        ])
    func readable(text: String, mode: Int, isTold: Bool) throws {
        let settings = try Settings.load(file: try write(text, mode: mode_t(mode)), environment: ["K": "abc"])
        #expect(settings.notices.contains { $0.contains("may read it") } == isTold)
    }

    @Test("A named pipe does not hang the start")
    func pipe() throws {
        let path = "\(folder)/pipe"
        try #require(mkfifo(path, 0o600) == 0)
        let error = #expect(throws: SettingsError.self) { try Settings.load(file: path, environment: [:]) }
        #expect(error?.description == "\(path): is not a regular file")
    }

    @Test("A file past the bound is refused, one at the bound is read")
    func size() throws {
        let bound = Limits.settingsFileBytes
        _ = try Settings.load(file: try write("{}" + String(repeating: " ", count: bound - 2)), environment: [:])
        let path = try write("{}" + String(repeating: " ", count: bound - 1))
        let error = #expect(throws: SettingsError.self) { try Settings.load(file: path, environment: [:]) }
        #expect(error?.description == "\(path): is larger than 1,048,576 bytes")
    }
}
