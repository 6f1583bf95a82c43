import Glibc

/// Where commands print.
enum Terminal {
    /// Whether a person reads and types here.
    static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 }
    static var isInputPiped: Bool { isatty(STDIN_FILENO) == 0 }

    /// A daemon started without standard streams must not give their numbers to its files: the log would go there.
    static func fillMissingDescriptors() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
            // The lowest free number is taken, which is this one.
            _ = open("/dev/null", O_RDWR)
        }
    }

    /// Text of a model: on a terminal its control characters are shown, not obeyed.
    static func write(untrusted text: String) {
        guard isatty(STDOUT_FILENO) == 1 else { return write(text) }
        let shown = text.unicodeScalars.map { scalar -> Unicode.Scalar in
            let isControl = scalar.properties.generalCategory == .control && scalar != "\n" && scalar != "\t"
            return isControl ? "\u{FFFD}" : scalar
        }
        var view = String.UnicodeScalarView()
        view.append(contentsOf: shown)
        write(String(view))
    }

    static func write(_ text: String) { write(Array(text.utf8), to: STDOUT_FILENO) }

    /// One line on standard error, with the program's name before it.
    static func complain(_ message: String) { write(Array("igris-runtime: \(message)\n".utf8), to: STDERR_FILENO) }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// Everything on standard input, at most `limit` bytes. Blocks.
    static func readAll(limit: Int) -> [UInt8] {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        while all.count < limit {
            let count = read(STDIN_FILENO, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            all += chunk.prefix(count)
        }
        return all
    }
}
