/// What the kernel tells of a process in `/proc/PID/stat` (proc(5)).
struct ProcessStatus: Sendable {
    private let state: Substring
    /// Processor time, of all its threads, in ticks of 10 ms.
    let ticks: Int
    /// The leader of its session.
    let session: Int32

    /// Nil for what is no such line. The second field is a name in parentheses that may hold anything.
    init?(stat text: String) {
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let session = Int32(fields[3]), let user = Int(fields[11]),
            let system = Int(fields[12])
        else { return nil }
        let (sum, overflows) = user.addingReportingOverflow(system)
        guard !overflows else { return nil }
        state = fields[0]
        ticks = sum
        self.session = session
    }

    /// By a signal, or a debugger.
    var isStopped: Bool { state == "T" || state == "t" }
    var waitsForDisk: Bool { state == "D" }
}
