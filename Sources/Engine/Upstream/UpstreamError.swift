import Core
import NIOHTTP1

/// What an upstream's refusal means here. Its own words stay out: they may quote the prompt, or a key.
struct UpstreamError: Sendable {
    /// `the engine of NAME`, `the upstream HOST of NAME`.
    private let subject: String

    init(_ subject: String) { self.subject = subject }

    /// A failed request's answer as an error.
    func translated(_ reply: HTTPUpstream.Reply) -> RuntimeError {
        var error = reported(reply.json?["error"] ?? .null, status: reply.status)
        if error.code == .overloaded || error.code == .unavailable {
            let seconds = reply.head.headers.first(name: "retry-after").flatMap { Int64($0) }
            error.retryAfter = seconds.map { .seconds(min(3_600, max(1, $0))) } ?? error.retryAfter
        }
        return error
    }

    /// The error object of a body or of a stream.
    func reported(_ error: JSON, status: Int) -> RuntimeError {
        let words = Self.words(error)
        let status = status == 500 ? (error["code"]?.integer).flatMap(Int.init(exactly:)) ?? status : status
        if words.contains("context") && (words.contains("exceed") || words.contains("length")) {
            return RuntimeError(
                .contextLengthExceeded, "the messages are longer than the context of the model, says \(subject)",
                parameter: "messages")
        }
        switch status {
        case 300..<400:
            return RuntimeError(
                .configuration,
                "\(subject) answered with a redirect (\(status)), and none is followed; set the model's url to the "
                    + "address it leads to")
        case 400, 422: return refusal(words, status)
        case 401, 403:
            return RuntimeError(
                .configuration, "\(subject) does not accept the key (\(status)); check the model's api_key")
        case 404, 405, 501:
            return RuntimeError(
                .configuration,
                "\(subject) does not know the model or the path (\(status)); check the model's url, which usually "
                    + "ends with /v1, and its remote_model")
        case 408, 504: return RuntimeError(.timedOut, "\(subject) took too long (\(status)); try again")
        case 413: return RuntimeError(.tooLarge, "\(subject) takes no request of this size (413)")
        case 429:
            return RuntimeError(
                .overloaded, "\(subject) has too much to do (429); try again later", retryAfter: .seconds(1))
        case 502, 503, 529:
            return RuntimeError(
                .unavailable, "\(subject) is not ready (\(status)); try again later", retryAfter: .seconds(2))
        default: return RuntimeError(.engineFailed, "\(subject) failed (\(status)); try again")
        }
    }

    private func refusal(_ words: String, _ status: Int) -> RuntimeError {
        let fields = [
            ("schema", "response_format"), ("grammar", "response_format"), ("response_format", "response_format"),
            ("tool", "tools"), ("logprobs", "logprobs"), ("logit_bias", "logit_bias"),
            ("max_tokens", "max_tokens"), ("stop", "stop"),
        ]
        let field = fields.first { words.contains($0.0) }?.1
        let what = field.map { "\($0) as it is given" } ?? "this request"
        return RuntimeError(.invalidRequest, "\(subject) cannot take \(what) (\(status))", parameter: field)
    }

    /// For decisions only, never shown.
    private static func words(_ error: JSON) -> String {
        [error["type"], error["code"], error["message"], error].compactMap { $0?.string?.prefix(2_000).lowercased() }
            .joined(separator: " ")
    }
}
