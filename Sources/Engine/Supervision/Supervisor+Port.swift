import Core

/// What others are told of a child's life.
extension Supervisor {
    /// `hasServed`: there was one before that was ready.
    func state(hasServed: Bool, at now: Instant) -> EngineState {
        switch phase {
        case .idle, .starting: hasServed ? .restarting(reason: "it is being started again") : .starting
        case .ready: .ready
        case .delayed(let reason), .lacking(let reason): .restarting(reason: reason)
        case .quarantined(let reason, let until):
            .quarantined(reason: reason, retryAt: WallClock.seconds(in: until - now))
        case .stopped: .stopped
        }
    }

    /// Why requests for `model` are turned away at present, if they are.
    func refusal(of model: String, at now: Instant) -> RuntimeError? {
        switch phase {
        case .quarantined(let reason, let until):
            RuntimeError(
                .unavailable, "the engine of \(model) failed too often and is left alone for a while: \(reason)",
                retryAfter: max(.seconds(1), until - now))
        case .lacking(let reason):
            RuntimeError(
                .unavailable, "the model \(model) cannot be answered for at present: \(reason)",
                retryAfter: bounds.workerRetry)
        case .stopped: RuntimeError(.unavailable, "the model \(model) is being stopped")
        case .idle, .starting, .ready, .delayed: nil
        }
    }
}
