/// Why a cryptographic call failed. It names no key, no content and no library internals.
package enum CryptographyError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A key, signature or sealed record has a length that it cannot have.
    case invalidLength(of: String)
    /// The tag does not match: another key, another row, or changed bytes.
    case authenticationFailed
    /// The library refused; the number is its first reason code.
    case library(reason: UInt)

    package var description: String {
        switch self {
        case .invalidLength(let what): "\(what) has a length that it cannot have"
        case .authenticationFailed: "the sealed data does not belong to this key and place, or was changed"
        case .library(let reason): "the cryptographic library refused the call (reason \(reason))"
        }
    }
}
