import COpenSSL

/// Bytes that nobody can guess.
package enum SecureRandom {
    package static func bytes(_ count: Int) throws(CryptographyError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&bytes, try OpenSSL.count(count, of: "a random value")) == 1 else {
            throw OpenSSL.failure()
        }
        return bytes
    }
}

/// Comparison that takes the same time wherever the first difference is.
package enum ConstantTime {
    /// Unequal lengths are told at once; lengths are no secret.
    package static func equals(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
    }
}
