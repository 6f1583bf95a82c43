import CoreMetrics
import Synchronization

/// One series of the page: a name with its labels, and what has been counted.
protocol Instrument: AnyObject, Sendable {
    /// Appends the series' lines: `labels` is `{a="b"}` or empty.
    func write(name: String, labels: Labels, to page: inout String)
}

/// A sum that only grows.
final class CountingInstrument: Instrument, CounterHandler, FloatingPointCounterHandler {
    private struct State {
        var whole: Int64 = 0
        var fraction = 0.0
    }

    private let state = Mutex(State())

    func increment(by amount: Int64) {
        guard amount > 0 else { return }
        state.withLock { state in
            let (sum, overflow) = state.whole.addingReportingOverflow(amount)
            state.whole = overflow ? .max : sum
        }
    }

    func increment(by amount: Double) {
        guard amount.isFinite, amount > 0 else { return }
        state.withLock { $0.fraction += amount }
    }

    func reset() { state.withLock { $0 = State() } }

    func write(name: String, labels: Labels, to page: inout String) {
        let state = state.withLock { $0 }
        let value = state.fraction == 0 ? String(state.whole) : number(Double(state.whole) + state.fraction)
        page += "\(name)\(labels.text) \(value)\n"
    }
}

/// A value that goes up and down.
final class GaugeInstrument: Instrument, MeterHandler, RecorderHandler {
    private let value = Mutex(0.0)

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { self.value.withLock { $0 = value } }
    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }

    func increment(by amount: Double) {
        guard amount.isFinite else { return }
        value.withLock { $0 += amount }
    }

    func decrement(by amount: Double) { increment(by: -amount) }

    func write(name: String, labels: Labels, to page: inout String) {
        page += "\(name)\(labels.text) \(number(value.withLock { $0 }))\n"
    }
}

/// How values are spread over buckets. As a timer it takes nanoseconds and shows seconds.
final class HistogramInstrument: Instrument, RecorderHandler, TimerHandler {
    private struct State {
        /// One for each bound, and one above all.
        var counts: [UInt64]
        var sum = 0.0
    }

    private let bounds: [Double]
    private let state: Mutex<State>

    init(bounds: [Double]) {
        self.bounds = bounds
        state = Mutex(State(counts: [UInt64](repeating: 0, count: bounds.count + 1)))
    }

    func record(_ value: Int64) { record(Double(value)) }
    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }

    func record(_ value: Double) {
        // One such value would spoil the sum for ever.
        guard value.isFinite else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock { state in
            state.counts[bucket] += 1
            state.sum += value
        }
    }

    func write(name: String, labels: Labels, to page: inout String) {
        let state = state.withLock { $0 }
        var total: UInt64 = 0
        for (index, count) in state.counts.enumerated() {
            total += count
            let bound = index < bounds.count ? number(bounds[index]) : "+Inf"
            page += "\(name)_bucket\(labels.adding("le", bound)) \(total)\n"
        }
        page += "\(name)_sum\(labels.text) \(number(state.sum))\n"
        page += "\(name)_count\(labels.text) \(total)\n"
    }
}

/// `5`, `0.25`, `1e-05`: as Prometheus reads it.
func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return Int64(exactly: value).map(String.init) ?? "\(value)"
}
