import COpenSSL

/// What every file here needs of the library: its algorithms, fetched once, and its error queue.
enum OpenSSL {
    /// Fetched objects are immutable and counted by the library, which documents their use from many threads.
    nonisolated(unsafe) static let aes256gcm = EVP_CIPHER_fetch(nil, "AES-256-GCM", nil)
    nonisolated(unsafe) static let sha256 = EVP_MD_fetch(nil, "SHA256", nil)

    /// The reason on this thread's error queue; the queue is emptied, so that no later call sees it.
    static func failure() -> CryptographyError {
        let code = ERR_get_error()
        ERR_clear_error()
        return .library(reason: UInt(code))
    }

    /// A count in the library's type.
    static func count(_ count: Int, of what: String) throws(CryptographyError) -> Int32 {
        guard let count = Int32(exactly: count) else { throw .invalidLength(of: what) }
        return count
    }
}

/// The library as a report names it.
package enum CryptographyLibrary {
    package static var version: String { OpenSSL_version(OPENSSL_VERSION).map { String(cString: $0) } ?? "" }
}
