import COpenSSL

/// Ed25519 signatures (RFC 8032) with raw 32-byte keys and 64-byte signatures.
package enum Ed25519 {
    package static let keyBytes = 32
    package static let signatureBytes = 64

    /// The secret half. The library overwrites it when the last reference goes.
    package final class PrivateKey: @unchecked Sendable, CustomStringConvertible, CustomDebugStringConvertible,
        CustomReflectable
    {
        // Sendable: the library's key object is not changed after the initialiser, and documents shared reading.
        let key: OpaquePointer
        package let publicKey: PublicKey

        /// A fresh pair.
        package convenience init() throws(CryptographyError) {
            try self.init(seed: SymmetricKey(random: keyBytes))
        }

        /// The pair of a stored 32-byte seed.
        package init(seed: SymmetricKey) throws(CryptographyError) {
            guard seed.count == keyBytes else { throw .invalidLength(of: "an Ed25519 key") }
            let key = seed.withBytes {
                EVP_PKEY_new_raw_private_key(
                    EVP_PKEY_ED25519, nil, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), keyBytes)
            }
            guard let key else { throw OpenSSL.failure() }
            var bytes = [UInt8](repeating: 0, count: keyBytes)
            var count = keyBytes
            guard EVP_PKEY_get_raw_public_key(key, &bytes, &count) == 1, count == keyBytes else {
                EVP_PKEY_free(key)
                throw OpenSSL.failure()
            }
            self.key = key
            publicKey = PublicKey(unchecked: bytes)
        }

        deinit { EVP_PKEY_free(key) }

        /// The seed, for the one place that stores it.
        package func seed() throws(CryptographyError) -> SymmetricKey {
            var bytes = [UInt8](repeating: 0, count: keyBytes)
            var count = keyBytes
            guard EVP_PKEY_get_raw_private_key(key, &bytes, &count) == 1, count == keyBytes else {
                throw OpenSSL.failure()
            }
            defer {
                for index in bytes.indices { bytes[index] = 0 }
            }
            return SymmetricKey(bytes)
        }

        package func sign(_ message: [UInt8]) throws(CryptographyError) -> [UInt8] {
            guard let context = EVP_MD_CTX_new() else { throw OpenSSL.failure() }
            defer { EVP_MD_CTX_free(context) }
            var signature = [UInt8](repeating: 0, count: signatureBytes)
            var count = signatureBytes
            guard EVP_DigestSignInit(context, nil, nil, nil, key) == 1,
                EVP_DigestSign(context, &signature, &count, message, message.count) == 1, count == signatureBytes
            else { throw OpenSSL.failure() }
            return signature
        }

        package var description: String { "<key>" }
        package var debugDescription: String { "<key>" }
        package var customMirror: Mirror { Mirror(self, children: []) }
    }

    package struct PublicKey: Hashable, Sendable {
        package let bytes: [UInt8]

        package init(_ bytes: [UInt8]) throws(CryptographyError) {
            guard bytes.count == keyBytes else { throw .invalidLength(of: "an Ed25519 public key") }
            self.bytes = bytes
        }

        fileprivate init(unchecked bytes: [UInt8]) { self.bytes = bytes }

        /// False for a wrong signature, a wrong length, and bytes that are no point of the curve.
        package func verify(_ signature: [UInt8], of message: [UInt8]) -> Bool {
            guard signature.count == signatureBytes,
                let key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, bytes, keyBytes)
            else { return false }
            defer { EVP_PKEY_free(key) }
            guard let context = EVP_MD_CTX_new() else { return false }
            defer {
                EVP_MD_CTX_free(context)
                ERR_clear_error()
            }
            return EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1
                && EVP_DigestVerify(context, signature, signatureBytes, message, message.count) == 1
        }
    }
}
