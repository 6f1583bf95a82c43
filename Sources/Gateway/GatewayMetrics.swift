import Core
import HTTPTypes
import Metrics
import Synchronization

/// The gateway's instruments. Their labels are few by nature: no ids, no addresses, no paths as sent.
struct GatewayMetrics: Sendable {
    private let inFlight = Gauge(label: "igris_requests_in_flight")
    private let made = Made()
    private let refused = Refused()

    private struct Refused: Sendable {
        static func counter(_ reason: String) -> Counter {
            Counter(label: "igris_access_refused_total", dimensions: [("reason", reason)])
        }
        let unknown = counter("unauthenticated")
        let forbidden = counter("forbidden")
        let rate = counter("rate")
    }

    /// A request is refused for who asks it; other statuses are not counted.
    func refused(_ failure: APIError) {
        switch failure.status {
        case 401: refused.unknown.increment()
        case 403: refused.forbidden.increment()
        case 429 where failure.code == APIError.rateCode: refused.rate.increment()
        default: break
        }
    }

    /// Those that were used before: finding them by all of their labels takes longer.
    private final class Made: Sendable {
        struct Kind: Hashable {
            var route: String
            var method: String
            var status: Int
        }
        struct OfModel {
            var firstToken: Metrics.Timer
            var promptTokens: Counter
            var completionTokens: Counter
        }

        private let kinds = Mutex<[Kind: (Counter, Metrics.Timer)]>([:])
        private let models = Mutex<[String: OfModel]>([:])

        func instruments(_ kind: Kind) -> (Counter, Metrics.Timer) {
            kinds.withLock { kinds in
                if let found = kinds[kind] { return found }
                let made = (
                    Counter(
                        label: "igris_http_requests_total",
                        dimensions: [
                            ("route", kind.route), ("method", kind.method), ("status", "\(kind.status)"),
                        ]),
                    Metrics.Timer(
                        label: "igris_http_request_duration_seconds", dimensions: [("route", kind.route)])
                )
                kinds[kind] = made
                return made
            }
        }

        func instruments(of model: String) -> OfModel {
            models.withLock { models in
                if let found = models[model] { return found }
                let made = OfModel(
                    firstToken: Metrics.Timer(
                        label: "igris_time_to_first_token_seconds", dimensions: [("model", model)]),
                    promptTokens: Counter(
                        label: "igris_tokens_total", dimensions: [("model", model), ("kind", "prompt")]),
                    completionTokens: Counter(
                        label: "igris_tokens_total", dimensions: [("model", model), ("kind", "completion")]))
                models[model] = made
                return made
            }
        }
    }

    func inFlight(_ count: Int) { inFlight.record(count) }

    func ended(route: String, method: HTTPRequest.Method, status: Int, after duration: Duration) {
        let (count, time) = made.instruments(
            Made.Kind(route: route, method: Self.word(method), status: status))
        count.increment()
        time.recordNanoseconds(duration.nanoseconds)
    }

    func firstToken(model: String, after duration: Duration) {
        made.instruments(of: model).firstToken.recordNanoseconds(duration.nanoseconds)
    }

    func tokens(model: String, _ usage: TokenUsage) {
        let made = made.instruments(of: model)
        made.promptTokens.increment(by: usage.promptTokens)
        made.completionTokens.increment(by: usage.completionTokens)
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
