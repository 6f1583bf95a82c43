import COpenSSL

/// HMAC with SHA-256 (RFC 2104).
package enum HMACSHA256 {
    package static func authenticate(_ message: [UInt8], key: SymmetricKey) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: SHA256.digestBytes)
        let result = key.withBytes { key in
            // A null key would mean "go on with the last one".
            withUnsafePointer(to: 0 as UInt8) { empty in
                HMAC(
                    OpenSSL.sha256, key.baseAddress ?? UnsafeRawPointer(empty), Int32(clamping: key.count), message,
                    message.count, &code, nil)
            }
        }
        precondition(result != nil, "the cryptographic library has no HMAC")
        return code
    }

    /// Whether `code` is the message's; takes the same time for every wrong one.
    package static func isValid(_ code: [UInt8], for message: [UInt8], key: SymmetricKey) -> Bool {
        ConstantTime.equals(authenticate(message, key: key), code)
    }
}

/// HKDF with SHA-256 (RFC 5869): keys from a key. The input must be strong already; for words use ``Scrypt``.
package enum HKDF {
    /// At most 8160 bytes; `info` is the label that tells the keys of one input apart.
    package static func derive(
        key: SymmetricKey, salt: [UInt8], info: [UInt8], count: Int = 32
    ) throws(CryptographyError) -> SymmetricKey {
        guard (1...255 * SHA256.digestBytes).contains(count) else { throw .invalidLength(of: "a derived key") }
        let extracted = SymmetricKey(HMACSHA256.authenticate(key.reveal(), key: SymmetricKey(salt)))
        var output: [UInt8] = []
        var block: [UInt8] = []
        var counter: UInt8 = 1
        while output.count < count {
            block = HMACSHA256.authenticate(block + info + [counter], key: extracted)
            output += block
            counter &+= 1
        }
        defer {
            for index in output.indices { output[index] = 0 }
        }
        return SymmetricKey(output.prefix(count))
    }

    /// The same with a text as label.
    package static func derive(
        key: SymmetricKey, salt: [UInt8] = [], label: String, count: Int = 32
    ) throws(CryptographyError) -> SymmetricKey {
        try derive(key: key, salt: salt, info: Array(label.utf8), count: count)
    }
}

/// scrypt (RFC 7914): a key from words that a person chose. The default takes about 0.3 s and 128 MiB.
package enum Scrypt {
    package static func derive(
        password: [UInt8], salt: [UInt8], cost: UInt64 = 1 << 17, blockSize: UInt64 = 8, parallelism: UInt64 = 1,
        count: Int = 32
    ) throws(CryptographyError) -> SymmetricKey {
        guard (1...1024).contains(count) else { throw .invalidLength(of: "a derived key") }
        var output = [UInt8](repeating: 0, count: count)
        let done = password.withUnsafeBytes {
            EVP_PBE_scrypt(
                $0.baseAddress?.assumingMemoryBound(to: CChar.self), password.count, salt, salt.count, cost, blockSize,
                parallelism, 512 << 20, &output, count)
        }
        guard done == 1 else { throw OpenSSL.failure() }
        defer {
            for index in output.indices { output[index] = 0 }
        }
        return SymmetricKey(output)
    }
}
