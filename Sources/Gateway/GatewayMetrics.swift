import Core
import HTTPTypes
import Metrics

/// The gateway's instruments. Their labels are few by nature: no ids, no addresses, no paths as sent.
struct GatewayMetrics: Sendable {
    private let inFlight = Gauge(label: "igris_requests_in_flight")

    func inFlight(_ count: Int) { inFlight.record(count) }

    func ended(route: String, method: HTTPRequest.Method, status: Int, after duration: Duration) {
        Counter(
            label: "igris_http_requests_total",
            dimensions: [("route", route), ("method", Self.word(method)), ("status", "\(status)")]
        ).increment()
        Metrics.Timer(label: "igris_http_request_duration_seconds", dimensions: [("route", route)])
            .recordNanoseconds(duration.nanoseconds)
    }

    func firstToken(model: String, after duration: Duration) {
        Metrics.Timer(label: "igris_time_to_first_token_seconds", dimensions: [("model", model)])
            .recordNanoseconds(duration.nanoseconds)
    }

    func tokens(model: String, _ usage: TokenUsage) {
        for (kind, count) in [("prompt", usage.promptTokens), ("completion", usage.completionTokens)] {
            Counter(label: "igris_tokens_total", dimensions: [("model", model), ("kind", kind)]).increment(by: count)
        }
    }

    /// Clients may invent methods; each would be a time series of its own.
    private static func word(_ method: HTTPRequest.Method) -> String {
        switch method {
        case .get, .head, .post, .put, .delete, .options, .patch: method.rawValue
        default: "other"
        }
    }
}

extension Duration {
    /// At least 0.
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = max(self, .zero).components
        let (product, isTooLong) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return isTooLong ? .max : product &+ attoseconds / 1_000_000_000
    }
}
