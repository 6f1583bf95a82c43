import ArgumentParser
import Core
import Settings

/// `igris-runtime check`: reads the settings as the daemon would, and starts nothing.
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check the settings and show which value stands and where it came from.",
        aliases: ["validate-config"])

    @OptionGroup var settings: SettingsOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let settings = try settings.load()
        if json {
            let values: [JSON] = settings.effective.map {
                ["key": .string($0.key), "value": $0.shown, "source": .string($0.source.description)]
            }
            let report: JSON = [
                "ok": true, "settings": .array(values), "notices": .array(settings.notices.map { .string($0) }),
            ]
            Terminal.write(report.text + "\n")
            return
        }
        for value in settings.effective {
            Terminal.write("\(value.key) = \(value.shown.text)  (\(value.source))\n")
        }
        for notice in settings.notices { Terminal.write("note: \(notice)\n") }
        Terminal.write("ok\n")
    }
}
