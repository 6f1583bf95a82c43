import Glibc

/// The form of log lines.
enum LogFormat: String, Sendable, CaseIterable {
    /// Text on a terminal, JSON lines elsewhere.
    case auto
    case text
    case json

    func isText(for output: LogOutput) -> Bool {
        switch self {
        case .auto: output.isTerminal
        case .text: true
        case .json: false
        }
    }
}

/// Where log lines go.
struct LogOutput: Sendable {
    /// Takes one line, its newline included.
    var write: @Sendable ([UInt8]) -> Void
    var isTerminal: Bool

    static var standardError: LogOutput {
        LogOutput(write: { writeWhole($0, to: STDERR_FILENO) }, isTerminal: isatty(STDERR_FILENO) == 1)
    }

    /// One write(2) a line, so that lines of several threads do not mix; goes on only where the system took a part.
    /// A line that cannot be written is lost: there is nowhere left to say so.
    static func writeWhole(_ line: [UInt8], to descriptor: Int32) {
        var rest = line[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
