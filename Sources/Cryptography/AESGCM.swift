import COpenSSL

/// AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce:
///
///     nonce 12 | ciphertext | tag 16
///
/// Random nonces are safe for 2³² records under one key; the store changes its key long before.
package enum AESGCM {
    package static let keyBytes = 32
    package static let nonceBytes = 12
    package static let tagBytes = 16
    /// What sealing adds to the plaintext.
    package static let overhead = nonceBytes + tagBytes

    /// `aad` is authenticated, not stored: opening needs the same bytes again.
    package static func seal(
        _ plaintext: [UInt8], key: SymmetricKey, aad: [UInt8] = []
    ) throws(CryptographyError) -> [UInt8] {
        try seal(plaintext, key: key, aad: aad, nonce: NoncePool.next())
    }

    /// With a nonce given: for test vectors only. A nonce used twice under one key breaks the cipher.
    static func seal(
        _ plaintext: [UInt8], key: SymmetricKey, aad: [UInt8], nonce: [UInt8]
    ) throws(CryptographyError) -> [UInt8] {
        guard key.count == keyBytes else { throw .invalidLength(of: "an AES-256 key") }
        guard nonce.count == nonceBytes else { throw .invalidLength(of: "a nonce") }
        let count = try OpenSSL.count(plaintext.count, of: "a plaintext")
        let aadCount = try OpenSSL.count(aad.count, of: "associated data")
        let context = try Context()
        var sealed = [UInt8](repeating: 0, count: plaintext.count + overhead)
        let done = sealed.withUnsafeMutableBytes { sealed in
            plaintext.withUnsafeBytes { plaintext in
                guard let output = sealed.baseAddress else { return false }
                output.copyMemory(from: nonce, byteCount: nonceBytes)
                let body = (output + nonceBytes).assumingMemoryBound(to: UInt8.self)
                let input = plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self)
                var written: Int32 = 0
                let started = key.withBytes {
                    EVP_EncryptInit_ex2(
                        context.pointer, OpenSSL.aes256gcm, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), nonce,
                        nil)
                }
                guard started == 1,
                    aad.isEmpty || EVP_EncryptUpdate(context.pointer, nil, &written, aad, aadCount) == 1,
                    count == 0 || EVP_EncryptUpdate(context.pointer, body, &written, input, count) == 1,
                    EVP_EncryptFinal_ex(context.pointer, body + Int(count), &written) == 1
                else { return false }
                return EVP_CIPHER_CTX_ctrl(
                    context.pointer, EVP_CTRL_AEAD_GET_TAG, Int32(tagBytes), body + Int(count)) == 1
            }
        }
        guard done else { throw OpenSSL.failure() }
        return sealed
    }

    /// Throws `.authenticationFailed` unless key, associated data and every byte are those of sealing.
    package static func open(
        _ sealed: [UInt8], key: SymmetricKey, aad: [UInt8] = []
    ) throws(CryptographyError) -> [UInt8] {
        guard key.count == keyBytes else { throw .invalidLength(of: "an AES-256 key") }
        guard sealed.count >= overhead else { throw .invalidLength(of: "a sealed record") }
        let count = try OpenSSL.count(sealed.count - overhead, of: "a sealed record")
        let aadCount = try OpenSSL.count(aad.count, of: "associated data")
        let context = try Context()
        var plaintext = [UInt8](repeating: 0, count: Int(count))
        var authentic = false
        let done = sealed.withUnsafeBytes { sealed in
            plaintext.withUnsafeMutableBytes { plaintext in
                guard let nonce = sealed.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return false }
                let body = nonce + nonceBytes
                let output = plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self)
                var written: Int32 = 0
                let started = key.withBytes {
                    EVP_DecryptInit_ex2(
                        context.pointer, OpenSSL.aes256gcm, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), nonce,
                        nil)
                }
                // The library only reads the tag, though its parameter is mutable.
                let tag = UnsafeMutableRawPointer(mutating: body + Int(count))
                guard started == 1,
                    aad.isEmpty || EVP_DecryptUpdate(context.pointer, nil, &written, aad, aadCount) == 1,
                    count == 0 || EVP_DecryptUpdate(context.pointer, output, &written, body, count) == 1,
                    EVP_CIPHER_CTX_ctrl(context.pointer, EVP_CTRL_AEAD_SET_TAG, Int32(tagBytes), tag) == 1
                else { return false }
                var rest: (UInt64, UInt64) = (0, 0)
                authentic = withUnsafeMutableBytes(of: &rest) {
                    EVP_DecryptFinal_ex(
                        context.pointer, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), &written) == 1
                }
                if !authentic { OPENSSL_cleanse(output, Int(count)) }
                return true
            }
        }
        guard done else { throw OpenSSL.failure() }
        guard authentic else {
            ERR_clear_error()
            throw .authenticationFailed
        }
        return plaintext
    }

    /// One cipher context; freeing it also overwrites the expanded key.
    private struct Context: ~Copyable {
        let pointer: OpaquePointer

        init() throws(CryptographyError) {
            guard let pointer = EVP_CIPHER_CTX_new() else { throw OpenSSL.failure() }
            self.pointer = pointer
        }

        deinit { EVP_CIPHER_CTX_free(pointer) }
    }
}
