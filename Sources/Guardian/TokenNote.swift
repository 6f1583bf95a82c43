package import Core
internal import Cryptography

/// What is written of a token in the replicated log: it was made, or it opens nothing any more. Every host reads the
/// same notes (``TokenTable``).
///
///     version u8 | 1 | digest 32 | name | scopes u8 | count varint, models… | expires varint | rate varint
///     version u8 | 2 | digest 32
///
/// Names are length-prefixed; 0 stands for no expiry and no rate.
package enum TokenNote: Hashable, Sendable {
    /// When is the operation's time.
    case made(AccessToken)
    case revoked(TokenDigest)

    private static let version: UInt8 = 1

    /// Where they stand, on every host.
    package static let stream = StreamID(
        Bytes16(SHA256.hash(Array("igris-tokens-1".utf8))) ?? Bytes16(high: 0, low: 0))

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        switch self {
        case .made(let token):
            writer.put(1)
            writer.put(raw: token.digest.bytes)
            writer.put(lengthPrefixed: token.name.utf8)
            writer.put(token.scopes.rawValue)
            writer.put(varint: UInt64(token.models.count))
            for model in token.models { writer.put(lengthPrefixed: model.utf8) }
            writer.put(varint: token.expires ?? 0)
            writer.put(varint: UInt64(clamping: token.rate ?? 0))
        case .revoked(let digest):
            writer.put(2)
            writer.put(raw: digest.bytes)
        }
        return writer.bytes
    }

    /// Throws ``RuntimeError`` `.corrupt`. Nil for one of the future.
    package static func decode(_ operation: Operation) throws(RuntimeError) -> TokenNote? {
        var reader = ByteReader(operation.body)
        guard try reader.byte() == version else { return nil }
        let kind = try reader.byte()
        guard let digest = TokenDigest(try reader.raw(TokenDigest.bytes)) else { return nil }
        switch kind {
        case 1:
            let name = try text(&reader, atMost: Limits.tokenNameBytes)
            guard AccessToken.isName(name) else { throw RuntimeError(.corrupt, "a token has a name that is none") }
            var token = AccessToken(name: name, digest: digest, scopes: Scopes(rawValue: try reader.byte()))
            let count = try reader.varint()
            guard count <= UInt64(Limits.tokenModels) else {
                throw RuntimeError(.corrupt, "a token names \(count) models; at most \(Limits.tokenModels)")
            }
            for _ in 0..<count { token.models.append(try text(&reader, atMost: Limits.modelNameBytes)) }
            let expires = try reader.varint()
            let rate = try reader.varint()
            token.created = operation.timestamp.milliseconds
            token.expires = expires == 0 ? nil : expires
            token.rate = rate == 0 ? nil : Int(clamping: rate)
            try reader.expectEnd()
            return .made(token)
        case 2:
            try reader.expectEnd()
            return .revoked(digest)
        default: return nil
        }
    }

    private static func text(_ reader: inout ByteReader, atMost limit: Int) throws(RuntimeError) -> String {
        guard let text = String(validating: try reader.lengthPrefixed(atMost: limit), as: UTF8.self) else {
            throw RuntimeError(.corrupt, "a token holds bytes that are no text")
        }
        return text
    }
}
