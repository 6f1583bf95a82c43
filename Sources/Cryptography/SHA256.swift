import COpenSSL

/// SHA-256 (FIPS 180-4), at once or piece by piece.
package struct SHA256: ~Copyable {
    package static let digestBytes = 32

    private let context: OpaquePointer

    package init() {
        // Null only when memory for a few hundred bytes is gone; Swift itself ends the process there.
        guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex2(context, OpenSSL.sha256, nil) == 1 else {
            preconditionFailure("the cryptographic library has no SHA-256")
        }
        self.context = context
    }

    deinit { EVP_MD_CTX_free(context) }

    package mutating func update(_ bytes: [UInt8]) {
        EVP_DigestUpdate(context, bytes, bytes.count)
    }

    package consuming func finish() -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Self.digestBytes)
        EVP_DigestFinal_ex(context, &digest, nil)
        return digest
    }

    package static func hash(_ bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: digestBytes)
        guard EVP_Digest(bytes, bytes.count, &digest, nil, OpenSSL.sha256, nil) == 1 else {
            preconditionFailure("the cryptographic library has no SHA-256")
        }
        return digest
    }
}
