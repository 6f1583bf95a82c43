package import Core
internal import Cryptography

/// Which token: the SHA-256 of its text. The text itself is 256 random bits that nobody can list, and stands nowhere.
package struct TokenDigest: Hashable, Sendable {
    package static let bytes = 32

    package let bytes: [UInt8]

    /// Nil for any other number of bytes.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.bytes else { return nil }
        self.bytes = bytes
    }

    package init(of text: String) { bytes = SHA256.hash(Array(text.utf8)) }

    /// By which people name it: no way back to the token.
    package var id: String { "\(AccessToken.idPrefix)\(bytes.prefix(6).hex)" }
}

/// What a client on some machine may do, for how long, and in whose name.
package struct AccessToken: Hashable, Sendable {
    package static let idPrefix = "tok_"

    /// Who uses it. A token of the same name, or a key of the configuration, opens the same conversations.
    package var name: String
    package var digest: TokenDigest
    package var scopes: Scopes
    /// Empty: all.
    package var models: [String]
    /// Milliseconds since 1970, as ``expires``.
    package var created: UInt64
    package var expires: UInt64?
    /// Requests a minute, on each host.
    package var rate: Int?

    package init(
        name: String, digest: TokenDigest, scopes: Scopes, models: [String] = [], created: UInt64 = 0,
        expires: UInt64? = nil, rate: Int? = nil
    ) {
        self.name = name
        self.digest = digest
        self.scopes = scopes
        self.models = models
        self.created = created
        self.expires = expires
        self.rate = rate
    }

    package var id: String { digest.id }
    package var owner: Owner { Owner(name: "key:\(name)") }

    /// Letters, digits and `. _ - @`, and nothing that looks like an id.
    package static func isName(_ text: String) -> Bool {
        (1...Limits.tokenNameBytes).contains(text.utf8.count) && !text.hasPrefix(idPrefix)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "@"):
                    true
                default: false
                }
            }
    }
}

/// A token as its client sends it: `igr_` and 43 letters and digits.
package enum TokenText {
    package static let prefix = "igr_"
    /// Of a session's bearer.
    package static let sessionPrefix = "igs_"
    /// What a token is made of.
    package static let randomBytes = 32

    private static let digits = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
    /// 62^43 > 2^256 > 62^42
    private static let length = 43

    /// - Parameter random: ``randomBytes`` bytes.
    package static func make(_ random: [UInt8], prefix: String = prefix) -> Secret<String> {
        var number = random
        var text: [UInt8] = []
        for _ in 0..<length {
            // The number divided by 62; the remainder is the next digit.
            var remainder = 0
            for index in number.indices {
                let value = remainder << 8 | Int(number[index])
                number[index] = UInt8(truncatingIfNeeded: value / 62)
                remainder = value % 62
            }
            text.append(digits[remainder])
        }
        return Secret(prefix + String(decoding: text.reversed(), as: UTF8.self))
    }
}
