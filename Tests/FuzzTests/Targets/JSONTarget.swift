import Core

/// JSON texts of clients, engines and other hosts.
enum JSONTarget {
    static func run(_ bytes: [UInt8]) throws(Broken) {
        guard let value = try? JSON.parse(bytes) else { return }
        let written = value.encoded
        let read = try? JSON.parse(written)
        try hold(read == value, "what was read is not what is written of it")
        try hold(read?.encoded == written, "it is written in two ways")
    }
}
