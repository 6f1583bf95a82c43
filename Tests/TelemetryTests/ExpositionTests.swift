import Core
import CoreMetrics
import Testing

@testable import Telemetry

@Suite struct ExpositionTests {
    private static let descriptions = [
        MetricDescription("igris_requests_total", "Requests answered."),
        MetricDescription("igris_odd", "A \\ and\na line."),
        MetricDescription("igris_wait_seconds", "Waiting.", buckets: [0.01, 0.1, 1]),
    ]

    private let registry = PrometheusRegistry(version: "1.2.3", descriptions: descriptions)

    /// The lines of one name, in the page's order.
    private func lines(_ name: String) -> [String] {
        let words = ["# HELP \(name) ", "# TYPE \(name) ", "\(name) ", "\(name){", "\(name)_"]
        return registry.exposition().split(separator: "\n").map(String.init).filter { line in
            words.contains { line.hasPrefix($0) }
        }
    }

    @Test("A counter sums, by its labels in the order of their names")
    func counter() {
        let get = [("route", "/v1/models"), ("method", "GET")]
        Counter(label: "igris_requests_total", dimensions: get, factory: registry).increment(by: 2)
        Counter(label: "igris_requests_total", dimensions: get.reversed(), factory: registry).increment()
        Counter(label: "igris_requests_total", dimensions: [("method", "POST")], factory: registry).increment(by: 5)
        #expect(
            lines("igris_requests_total") == [
                "# HELP igris_requests_total Requests answered.", "# TYPE igris_requests_total counter",
                #"igris_requests_total{method="GET",route="/v1/models"} 3"#, #"igris_requests_total{method="POST"} 5"#,
            ])
    }

    @Test("A counter of fractions keeps them, and takes no harm from what is no amount")
    func floatingPointCounter() {
        let counter = FloatingPointCounter(label: "igris_cost_total", factory: registry)
        for amount in [0.5, 0.25, -1, .nan, .infinity] { counter.increment(by: amount) }
        #expect(lines("igris_cost_total").last == "igris_cost_total 0.75")
    }

    @Test("A counter stops at the largest number instead of trapping")
    func saturation() {
        let counter = Counter(label: "igris_large_total", factory: registry)
        counter.increment(by: Int64.max)
        counter.increment(by: Int64.max)
        #expect(lines("igris_large_total").last == "igris_large_total 9223372036854775807")
    }

    @Test("Gauges and meters show their last value")
    func gauges() {
        Gauge(label: "igris_depth", factory: registry).record(3)
        Gauge(label: "igris_depth", factory: registry).record(2.5)
        let meter = Meter(label: "igris_level", factory: registry)
        meter.set(10)
        meter.increment(by: 2)
        meter.decrement(by: 5)
        #expect(
            lines("igris_depth") == ["# HELP igris_depth igris depth.", "# TYPE igris_depth gauge", "igris_depth 2.5"])
        #expect(lines("igris_level").last == "igris_level 7")
    }

    @Test("A timer counts nanoseconds into buckets of seconds")
    func timer() {
        let timer = Timer(label: "igris_wait_seconds", dimensions: [("model", "a")], factory: registry)
        for nanoseconds in [10_000_000, 10_000_001, 500_000_000, 2_000_000_000] { timer.recordNanoseconds(nanoseconds) }
        #expect(
            lines("igris_wait_seconds") == [
                "# HELP igris_wait_seconds Waiting.", "# TYPE igris_wait_seconds histogram",
                #"igris_wait_seconds_bucket{model="a",le="0.01"} 1"#,
                #"igris_wait_seconds_bucket{model="a",le="0.1"} 2"#,
                #"igris_wait_seconds_bucket{model="a",le="1"} 3"#, #"igris_wait_seconds_bucket{model="a",le="+Inf"} 4"#,
                #"igris_wait_seconds_sum{model="a"} 2.520000001"#, #"igris_wait_seconds_count{model="a"} 4"#,
            ])
    }

    @Test("A recorder that aggregates is a histogram of sizes")
    func recorder() {
        let recorder = Recorder(label: "igris_bytes", factory: registry)
        recorder.record(5)
        recorder.record(Double.nan)
        let lines = lines("igris_bytes")
        #expect(lines.count == 2 + Buckets.sizes.count + 3)
        #expect(lines.contains(#"igris_bytes_bucket{le="4"} 0"#))
        #expect(lines.contains(#"igris_bytes_bucket{le="16"} 1"#))
        #expect(lines.suffix(2) == ["igris_bytes_sum 5", "igris_bytes_count 1"])
    }

    @Test("Nothing in a label or a help text can break its line")
    func escaping() {
        let dimensions = [("a-b", "x\"y\\z\nw"), ("le", "1"), ("a_b", "second"), ("1st", "é")]
        Counter(label: "igris.odd", dimensions: dimensions, factory: registry).increment()
        #expect(
            lines("igris_odd") == [
                #"# HELP igris_odd A \\ and\na line."#, "# TYPE igris_odd counter",
                #"igris_odd{_1st="é",a_b="x\"y\\z\nw",label_le="1"} 1"#,
            ])
    }

    @Test("Past the bound new series are dropped and counted, and known ones go on")
    func bounded() {
        for index in 0..<(PrometheusRegistry.mostSeries + 50) {
            Counter(label: "igris_many_total", dimensions: [("n", "\(index)")], factory: registry).increment()
        }
        Counter(label: "igris_many_total", dimensions: [("n", "7")], factory: registry).increment()
        #expect(lines("igris_many_total").count == 2 + PrometheusRegistry.mostSeries)
        #expect(lines("igris_many_total").contains(#"igris_many_total{n="7"} 2"#))
        #expect(lines("igris_metrics_dropped_total").last == "igris_metrics_dropped_total 50")
    }

    @Test("A name keeps its first kind, and the page's own names are not for others")
    func kinds() {
        Counter(label: "igris_thing", factory: registry).increment()
        Gauge(label: "igris_thing", factory: registry).record(9)
        Gauge(label: "igris_build_info", factory: registry).record(9)
        Gauge(label: "process_open_fds", dimensions: [("a", "b")], factory: registry).record(9)
        #expect(lines("igris_thing").suffix(2) == ["# TYPE igris_thing counter", "igris_thing 1"])
        #expect(lines("igris_build_info").count == 3)
        #expect(lines("process_open_fds").count == 3)
        #expect(lines("igris_metrics_dropped_total").last == "igris_metrics_dropped_total 3")
    }

    @Test("A destroyed instrument leaves the page and frees its place")
    func destruction() {
        let counter = Counter(label: "igris_gone_total", factory: registry)
        counter.increment()
        counter.destroy()
        #expect(lines("igris_gone_total").isEmpty)
        Gauge(label: "igris_gone_total", factory: registry).record(1)
        #expect(lines("igris_gone_total").last == "igris_gone_total 1")
    }

    @Test("The page tells the version and the process")
    func process() throws {
        let values = Dictionary(
            uniqueKeysWithValues: registry.exposition().split(separator: "\n").filter { !$0.hasPrefix("#") }
                .compactMap { line in
                    line.split(separator: " ").last.map { (String(line.prefix { $0 != " " }), String($0)) }
                })
        #expect(values[#"igris_build_info{version="1.2.3"}"#] == "1")
        let resident = try #require(values["process_resident_memory_bytes"].flatMap { Double($0) })
        #expect((1e6...1e11).contains(resident))
        let start = try #require(values["process_start_time_seconds"].flatMap { Double($0) })
        let now = Double(Timestamp.now().milliseconds) / 1000
        #expect(start > 1e9 && start <= now + 2)
        #expect(try #require(values["process_cpu_seconds_total"].flatMap { Double($0) }) > 0)
        #expect(try #require(values["process_open_fds"].flatMap { Double($0) }) >= 3)
    }

    @Test(
        "A name or label that Prometheus refuses becomes one that it takes",
        arguments: [
            ("igris.http-requests", "igris_http_requests"), ("9lives", "_9lives"), ("", "_"), ("a:b", "a:b"),
            ("größe", "gr__e"),
        ])
    func names(text: String, expected: String) {
        #expect(metricName(text) == expected)
    }

    @Test("Many tasks at once lose no count")
    func concurrency() async {
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask { [registry] in
                    for round in 0..<2_000 {
                        Counter(label: "igris_hits_total", dimensions: [("n", "\(round % 5)")], factory: registry)
                            .increment()
                        Timer(label: "igris_wait_seconds", factory: registry).recordNanoseconds(Int64(round))
                        if task == 0, round % 200 == 0 { _ = registry.exposition() }
                    }
                }
            }
        }
        #expect(
            lines("igris_hits_total").dropFirst(2) == ArraySlice((0..<5).map { "igris_hits_total{n=\"\($0)\"} 3200" }))
        #expect(lines("igris_wait_seconds").last == "igris_wait_seconds_count 16000")
    }
}
