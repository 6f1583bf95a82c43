/// Whether this host takes requests, and if not, why: one sentence a reason, with the next step.
package struct Readiness: Hashable, Sendable {
    package var isReady: Bool
    /// Also filled while ready: what works less than fully (a locked store, a quarantined model).
    package var reasons: [String]

    package init(isReady: Bool, reasons: [String]) {
        self.isReady = isReady
        self.reasons = reasons
    }
}
