import COpenSSL

/// Secret key bytes. They are overwritten when the last reference goes, and nothing that prints shows them.
package final class SymmetricKey: @unchecked Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    // Sendable: the memory is written in the initialisers only, read afterwards, and freed with the last reference.
    private let storage: UnsafeMutableRawBufferPointer

    /// A copy of `bytes`; the caller's array is the caller's to forget.
    package init(_ bytes: some Collection<UInt8>) {
        storage = .allocate(byteCount: bytes.count, alignment: 16)
        storage.copyBytes(from: bytes)
    }

    /// `count` fresh random bytes.
    package init(random count: Int = 32) throws(CryptographyError) {
        storage = .allocate(byteCount: count, alignment: 16)
        guard RAND_priv_bytes(storage.baseAddress, try OpenSSL.count(count, of: "a key")) == 1 else {
            throw OpenSSL.failure()
        }
    }

    deinit {
        OPENSSL_cleanse(storage.baseAddress, storage.count)
        storage.deallocate()
    }

    package var count: Int { storage.count }

    /// A copy of the bytes, for the one place that must store or derive from them.
    package func reveal() -> [UInt8] { Array(storage) }

    /// The bytes in place; the pointer must not leave `body`.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        body(UnsafeRawBufferPointer(storage))
    }

    package var description: String { "<key>" }
    package var debugDescription: String { "<key>" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
