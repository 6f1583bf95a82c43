/// The one kind of error that passes between rooms: what failed, on what, and what to do about it.
/// The message may reach a client: it never holds a secret, a prompt, an answer or a path of this machine.
@usableFromInline
package struct RuntimeError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure this is; each dialect maps it to its own status and body.
    package enum Code: String, Sendable, CaseIterable {
        /// The request itself is wrong; `parameter` names the field.
        case invalidRequest = "invalid_request"
        /// The turn alone does not fit the model's context.
        case contextLengthExceeded = "context_length_exceeded"
        /// Who asks is not known.
        case unauthenticated
        /// Who asks is known, and may not.
        case forbidden
        case notFound = "not_found"
        case modelNotFound = "model_not_found"
        case tooLarge = "too_large"
        /// Too much work is waiting; try later.
        case overloaded
        /// A part is not there at present (engine loading or quarantined, store locked); try later.
        case unavailable
        /// The engine failed in the middle of its work.
        case engineFailed = "engine_failed"
        case timedOut = "timed_out"
        /// Data is damaged or not in a form that this version knows.
        case corrupt
        /// What was asked for is damaged on this host; another one's copy may put it right.
        case damaged
        /// A key does not open what it should.
        case wrongKey = "wrong_key"
        /// Something on this host is set up wrong.
        case configuration
        /// The system refused an operation (no permission, a failing disk).
        case system
        /// There is no room on the disk: nothing helps but to make some.
        case storageFull = "storage_full"
        /// Our own mistake.
        case `internal`
    }

    package var code: Code
    package var message: String
    /// The request field that is wrong, where one is.
    package var parameter: String?
    /// When to try again, where that is known.
    package var retryAfter: Duration?
    /// For the log only, never for a client.
    package var cause: (any Error)?

    package init(
        _ code: Code, _ message: String, parameter: String? = nil, retryAfter: Duration? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.parameter = parameter
        self.retryAfter = retryAfter
        self.cause = cause
    }

    @usableFromInline
    package var description: String {
        let reason = cause.map { " (\($0))" } ?? ""
        return "\(code.rawValue): \(message)\(reason)"
    }
}
