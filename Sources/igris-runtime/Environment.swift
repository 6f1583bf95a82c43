import Glibc

/// The process's environment, read once; with the secrets that systemd hands over as files (`LoadCredential=`), each as
/// the variable of its name. A real variable wins.
enum Environment {
    /// Those that a setting may be taken from.
    private static let credentials = ["MCP_ENCRYPTION_KEY"]
    private static let credentialBytes = 4_096

    static let variables: [String: String] = {
        var variables: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let pair = String(cString: text)
            if let equals = pair.firstIndex(of: "=") {
                variables[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
            }
            entry += 1
        }
        for name in credentials where variables[name] == nil {
            variables[name] = variables["CREDENTIALS_DIRECTORY"].flatMap { credential("\($0)/\(name)") }
        }
        return variables
    }()

    /// The text of a small file, without the line's end that editors put behind it. Nil where there is none.
    private static func credential(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: credentialBytes)
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return nil }
        let text = String(decoding: buffer.prefix(count), as: UTF8.self)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}
