/// A tar archive (POSIX.1-1988 ustar) of a few small files, in memory.
struct TarFile {
    private(set) var bytes: [UInt8] = []

    /// - Parameters:
    ///   - name: at most 100 bytes of ASCII.
    ///   - seconds: since 1970.
    mutating func add(_ name: String, _ content: [UInt8], at seconds: UInt64) {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at place: Int, _ limit: Int) {
            for (offset, byte) in text.utf8.prefix(limit).enumerated() { header[place + offset] = byte }
        }
        func octal(_ value: UInt64, at place: Int, digits: Int) {
            let text = String(value, radix: 8)
            put(String(repeating: "0", count: max(0, digits - text.count)) + text, at: place, digits)
        }
        put(name, at: 0, 100)
        octal(0o600, at: 100, digits: 7)
        octal(0, at: 108, digits: 7)
        octal(0, at: 116, digits: 7)
        octal(UInt64(content.count), at: 124, digits: 11)
        octal(seconds, at: 136, digits: 11)
        put("0", at: 156, 1)
        put("ustar\0" + "00", at: 257, 8)
        // The sum counts its own field as spaces.
        put(String(repeating: " ", count: 8), at: 148, 8)
        octal(header.reduce(0) { $0 + UInt64($1) }, at: 148, digits: 6)
        header[154] = 0
        bytes += header + content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    /// Two empty blocks end it.
    mutating func finish() { bytes += [UInt8](repeating: 0, count: 1_024) }
}
