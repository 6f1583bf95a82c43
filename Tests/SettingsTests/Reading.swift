import Core
import Glibc
import Testing

@testable import Settings

/// Reads a text as if it stood in `/etc/igris/config.json5`.
func read(
    _ text: String, flags: Overrides = Overrides(), environment: [String: String] = [:]
) throws(SettingsError) -> Settings {
    try Settings.read(
        (Array(text.utf8), "config.json5"), flags: flags,
        surroundings: Surroundings(environment: environment, folder: "/etc/igris"))
}

/// Everything that is wrong with a text, as it is printed.
func problems(
    _ text: String, flags: Overrides = Overrides(), environment: [String: String] = [:]
) -> [String] {
    do throws(SettingsError) {
        _ = try read(text, flags: flags, environment: environment)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

/// The value that stands for a key and where it came from.
func effective(_ key: String, in settings: Settings) -> String? {
    settings.effective.first { $0.key == key }.map { "\($0.shown.text) from \($0.source)" }
}

/// A file of this repository.
func repositoryFile(_ name: String) throws -> String {
    String(decoding: try SettingsFile.read(repositoryPath(name)).bytes, as: UTF8.self)
}

func writeRepositoryFile(_ name: String, _ text: String) throws {
    let file = try #require(fopen(repositoryPath(name), "w"))
    defer { fclose(file) }
    try #require(fputs(text, file) >= 0)
}

private func repositoryPath(_ name: String) -> String {
    "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/\(name)"
}
