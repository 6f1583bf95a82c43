import COpenSSL
import Synchronization

/// Nonces drawn from the system's generator many at a time: one draw costs 1.4 µs however small it is, as much as
/// sealing 1 KiB. Nonces are no secret, so waiting in memory harms nothing; each is handed out once. A fork without
/// exec would hand them out twice, which is why nothing here forks: children are spawned.
enum NoncePool {
    private struct Pool {
        var bytes = [UInt8](repeating: 0, count: 256 * AESGCM.nonceBytes)
        /// Nothing left at first.
        var position = 256 * AESGCM.nonceBytes
    }

    private static let pool = Mutex(Pool())

    static func next() throws(CryptographyError) -> [UInt8] {
        let nonce: [UInt8]? = pool.withLock { pool in
            if pool.position == pool.bytes.count {
                guard RAND_bytes(&pool.bytes, Int32(pool.bytes.count)) == 1 else { return nil }
                pool.position = 0
            }
            defer { pool.position += AESGCM.nonceBytes }
            return Array(pool.bytes[pool.position..<pool.position + AESGCM.nonceBytes])
        }
        guard let nonce else { throw OpenSSL.failure() }
        return nonce
    }
}
