import Core

@testable import Settings

/// Files of settings.
enum JSON5Target {
    private static let surroundings = Surroundings(environment: ["A": "x", "N": "7"], folder: "/etc")

    static func run(_ bytes: [UInt8]) throws(Broken) {
        do throws(SettingsError) {
            _ = try Settings.read((bytes, "f"), flags: Overrides(), surroundings: surroundings)
        } catch {
            try hold(
                !error.problems.isEmpty && error.problems.count <= Problem.mostShown + 1,
                "\(error.problems.count) problems are told")
            for problem in error.problems {
                try hold(!problem.message.isEmpty && (problem.position?.line ?? 1) > 0, "a problem says nothing")
            }
        }
    }
}
