/// One thing that the doctor looked at.
package struct DiagnosticCheck: Hashable, Sendable {
    package enum Verdict: String, Hashable, Comparable, Sendable {
        case ok
        case warn
        case fail
        /// Could not be looked at here; `finding` says why.
        case skipped

        private var weight: Int {
            switch self {
            case .ok: 0
            case .skipped: 1
            case .warn: 2
            case .fail: 3
            }
        }
        package static func < (left: Verdict, right: Verdict) -> Bool { left.weight < right.weight }
    }

    /// Stable, for scripts: `multicast.loop`.
    package var id: String
    package var title: String
    package var verdict: Verdict
    package var finding: String
    /// What to do; always set unless `ok` or `skipped`.
    package var fix: String?

    package init(id: String, title: String, verdict: Verdict, finding: String, fix: String? = nil) {
        self.id = id
        self.title = title
        self.verdict = verdict
        self.finding = finding
        self.fix = fix
    }
}
