package import CoreMetrics
import Synchronization

/// Keeps every instrument of the process and writes the page that Prometheus reads (text format 0.0.4).
///
/// The names are the callers': `igris_…`, base units, `_total` for counters, `_seconds` for timers. A series is a name
/// with its labels; past ``mostSeries`` new ones are dropped and counted, so that no label can fill the memory.
package final class PrometheusRegistry: MetricsFactory, Sendable {
    /// Series kept, all names together.
    package static let mostSeries = 2_000

    private static let ownNames: Set<String> = ["igris_build_info", "igris_metrics_dropped_total"]

    enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    private struct Family {
        var kind: Kind
        var series: [Labels: any Instrument] = [:]
    }

    private struct State {
        var families: [String: Family] = [:]
        var descriptions: [String: MetricDescription] = [:]
        var series = 0
        var dropped: UInt64 = 0
    }

    private let state = Mutex(State())
    private let version: String
    private let process: ProcessMetrics

    /// `version` is what `igris_build_info` says.
    package convenience init(version: String, descriptions: [MetricDescription] = []) {
        self.init(version: version, descriptions: descriptions, process: ProcessMetrics())
    }

    /// A registry for every instrument of the process. Call once, before the first instrument is made.
    package static func start(version: String, descriptions: [MetricDescription] = []) -> PrometheusRegistry {
        let registry = PrometheusRegistry(version: version, descriptions: descriptions)
        MetricsSystem.bootstrap(registry)
        return registry
    }

    init(version: String, descriptions: [MetricDescription], process: ProcessMetrics) {
        self.version = version
        self.process = process
        register(descriptions)
    }

    /// Adds meanings of names. Buckets count for instruments that are made later.
    package func register(_ descriptions: [MetricDescription]) {
        state.withLock { state in
            for description in descriptions { state.descriptions[metricName(description.name)] = description }
        }
    }

    // MARK: MetricsFactory

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        instrument(label, dimensions, .counter) { _ in CountingInstrument() } ?? NOOPMetricsHandler.instance
    }

    package func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        instrument(label, dimensions, .counter) { _ in CountingInstrument() } ?? NOOPMetricsHandler.instance
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        instrument(label, dimensions, .gauge) { _ in GaugeInstrument() } ?? NOOPMetricsHandler.instance
    }

    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        guard aggregate else {
            return instrument(label, dimensions, .gauge) { _ in GaugeInstrument() } ?? NOOPMetricsHandler.instance
        }
        return histogram(label, dimensions, defaultBounds: Buckets.sizes) ?? NOOPMetricsHandler.instance
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        histogram(label, dimensions, defaultBounds: Buckets.seconds) ?? NOOPMetricsHandler.instance
    }

    package func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
    package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
    package func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
    package func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
    package func destroyTimer(_ handler: any TimerHandler) { remove(handler) }

    private func histogram(
        _ label: String, _ dimensions: [(String, String)], defaultBounds: [Double]
    ) -> HistogramInstrument? {
        instrument(label, dimensions, .histogram) { HistogramInstrument(bounds: $0 ?? defaultBounds) }
    }

    /// The series with this name and these labels, made where there is none yet. Nil where there are too many, or
    /// the name is another kind's already.
    private func instrument<Made: Instrument>(
        _ label: String, _ dimensions: [(String, String)], _ kind: Kind, make: ([Double]?) -> Made
    ) -> Made? {
        let name = metricName(label)
        let labels = Labels(dimensions)
        return state.withLock { state in
            if let known = state.families[name]?.series[labels], let made = known as? Made { return made }
            // The page writes these itself.
            let isOurs = name.hasPrefix("process_") || Self.ownNames.contains(name)
            let fits = state.families[name].map { $0.kind == kind && $0.series[labels] == nil } ?? !isOurs
            guard fits, state.series < Self.mostSeries else {
                state.dropped += 1
                return nil
            }
            let made = make(state.descriptions[name]?.buckets)
            state.families[name, default: Family(kind: kind)].series[labels] = made
            state.series += 1
            return made
        }
    }

    private func remove(_ handler: AnyObject) {
        state.withLock { state in
            for (name, family) in state.families {
                guard let labels = family.series.first(where: { $0.value === handler })?.key else { continue }
                state.families[name]?.series[labels] = nil
                state.series -= 1
                if state.families[name]?.series.isEmpty == true { state.families[name] = nil }
                return
            }
        }
    }

    // MARK: The page

    /// The whole page, names and labels in order.
    package func exposition() -> String {
        let (families, descriptions, dropped) = state.withLock { ($0.families, $0.descriptions, $0.dropped) }
        var page = ""
        Self.begin("igris_build_info", .gauge, "The version that runs; always 1.", &page)
        page += "igris_build_info\(Labels([("version", version)]).text) 1\n"
        Self.begin("igris_metrics_dropped_total", .counter, "Series refused: too many, or of another kind.", &page)
        page += "igris_metrics_dropped_total \(dropped)\n"
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            Self.begin(name, family.kind, descriptions[name]?.help ?? Self.words(of: name), &page)
            let series = family.series.map { (text: $0.key.text, labels: $0.key, instrument: $0.value) }
            for one in series.sorted(by: { $0.text < $1.text }) {
                one.instrument.write(name: name, labels: one.labels, to: &page)
            }
        }
        for sample in process.samples() {
            Self.begin(sample.name, sample.kind, sample.help, &page)
            page += "\(sample.name) \(number(sample.value))\n"
        }
        return page
    }

    private static func begin(_ name: String, _ kind: Kind, _ help: String, _ page: inout String) {
        let help = help.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
            .split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\\n")
        page += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    /// The help of a metric that nobody described.
    private static func words(of name: String) -> String {
        name.split(separator: "_").joined(separator: " ") + "."
    }
}
