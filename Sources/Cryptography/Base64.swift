import COpenSSL

/// Base64 (RFC 4648 §4), padded, without line breaks.
package enum Base64 {
    package static func encode(_ bytes: [UInt8]) -> String {
        // The library ends its text with a zero.
        var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
        let count = EVP_EncodeBlock(&text, bytes, Int32(clamping: bytes.count))
        return String(decoding: text.prefix(Int(max(0, count))), as: UTF8.self)
    }
}
