import Glibc
import Synchronization

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

    /// Whether the last line found no room: the next ones do not wait at all.
    private static let isStuck = Atomic(false)

    /// One write(2) a line, so that lines of several threads do not mix; goes on only where the system took a part.
    /// A line that cannot be written is lost: there is nowhere left to say so. Nor is one waited for long: a collector
    /// that has stopped reading must not stop the daemon.
    static func writeWhole(_ line: [UInt8], to descriptor: Int32) {
        var rest = line[...]
        while !rest.isEmpty {
            var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let milliseconds: Int32 = isStuck.load(ordering: .relaxed) ? 0 : 20
            let isReady = poll(&room, 1, milliseconds) != 0
            isStuck.store(!isReady, ordering: .relaxed)
            guard isReady else { return }
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
