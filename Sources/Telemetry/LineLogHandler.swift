import Core
package import Logging

/// Writes each event as one line: text for people, JSON for collectors. Nothing in an event can break its line or
/// the terminal: control characters are escaped, long values are cut.
package struct LineLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel: Logger.Level

    private let label: String
    private let isText: Bool
    private let output: LogOutput
    private let ring: LogRing?
    private let now: @Sendable () -> Timestamp

    init(
        label: String, level: Logger.Level, isText: Bool, output: LogOutput, ring: LogRing? = nil,
        metadataProvider: Logger.MetadataProvider? = nil, now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.label = label
        self.isText = isText
        self.output = output
        self.ring = ring
        self.metadataProvider = metadataProvider
        self.now = now
        logLevel = level
    }

    /// Sends the lines of every logger to standard error. Call once, before the first logger is made.
    ///
    /// - Parameters:
    ///   - level: The word of swift-log, `trace` to `critical`; any other counts as `info`.
    ///   - format: ``LogFormat``'s word; any other counts as `auto`.
    ///   - ring: keeps the latest events, too.
    package static func bootstrap(level: String, format: String, ring: LogRing? = nil) {
        let level = Logger.Level(rawValue: level) ?? .info
        let output = LogOutput.standardError
        let isText = (LogFormat(rawValue: format) ?? .auto).isText(for: output)
        LoggingSystem.bootstrap(
            { label, provider in
                LineLogHandler(
                    label: label, level: level, isText: isText, output: output, ring: ring, metadataProvider: provider)
            }, metadataProvider: nil)
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = metadata
        // The nearer word wins: the event's own, then the task's, then the logger's.
        if let metadataProvider { fields.merge(metadataProvider.get()) { $1 } }
        if let own = event.metadata { fields.merge(own) { $1 } }
        if let error = event.error { fields["error"] = "\(error)" }
        let line = LogLine(
            time: now(), level: event.level, label: label, message: event.message.description,
            fields: LogLine.flatten(fields))
        ring?.add(line)
        output.write(isText ? line.text : line.json)
    }
}
