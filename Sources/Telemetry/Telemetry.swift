import CoreMetrics
package import Logging

/// Logs and metrics of the process: who collects them, and in what form they leave.
package enum Telemetry {
    /// Sends every logger's lines to standard error. Call once, before the first logger is made.
    package static func bootstrap(logLevel: Logger.Level, format: LogFormat) {
        let output = LogOutput.standardError
        let isText = format.isText(for: output)
        LoggingSystem.bootstrap(
            { label, provider in
                LineLogHandler(
                    label: label, level: logLevel, isText: isText, output: output, metadataProvider: provider)
            }, metadataProvider: nil)
    }

    /// Makes `registry` the place where every instrument counts. Call once, before the first instrument is made.
    package static func bootstrap(metrics registry: PrometheusRegistry) {
        MetricsSystem.bootstrap(registry)
    }
}
