package import Core
package import Cryptography

/// The swarm key as people write it (swarm.md §11).
package enum SwarmKeyText {
    package static let shortestPassphrase = 12
    /// Everyone who types the same words must get the same key, so the salt is a constant: scrypt's cost is what
    /// stands between a stolen file and a guessed passphrase.
    private static let salt = Array("igris-swarm-key-1".utf8)

    /// 64 hexadecimal digits or 44 base64 characters are the 32 bytes themselves; any other text of at least 12
    /// characters goes through scrypt (N = 2¹⁷, about 0.3 s and 128 MiB). White space around it does not count.
    ///
    /// Throws ``RuntimeError`` `.configuration`, which never shows the text.
    package static func parse(_ text: String) throws(RuntimeError) -> SymmetricKey {
        let text = trimmed(text)
        if text.utf8.count == 64, let bytes = [UInt8](hex: text) { return SymmetricKey(bytes) }
        if let bytes = base64(text) { return SymmetricKey(bytes) }
        if let mistake = miscopied(text) {
            throw RuntimeError(
                .configuration,
                "the encryption key looks like 64 hexadecimal digits, but \(mistake): copy it again, whole")
        }
        guard text.count >= shortestPassphrase else {
            throw RuntimeError(
                .configuration,
                "the encryption key is too short: give at least \(shortestPassphrase) characters, or 64 hexadecimal "
                    + "digits as `openssl rand -hex 32` writes them")
        }
        do {
            return try Scrypt.derive(password: Array(text.utf8), salt: salt)
        } catch {
            throw RuntimeError(
                .system, "the encryption key could not be derived; 128 MiB of memory must be free", cause: error)
        }
    }

    private static func trimmed(_ text: String) -> String {
        let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
        let rest = text.utf8.drop(while: isSpace)
        let count = rest.count - rest.reversed().prefix(while: isSpace).count
        return String(decoding: rest.prefix(count), as: UTF8.self)
    }

    /// What is wrong with digits that were not copied whole. Taken for a passphrase they would be another swarm's key,
    /// without a word. Nil for anything that is no such thing.
    private static func miscopied(_ text: String) -> String? {
        let isHexadecimal = { (byte: UInt8) in [UInt8](hex: String(decoding: [byte, byte], as: UTF8.self)) != nil }
        let count = text.utf8.count
        let strange = text.utf8.count { !isHexadecimal($0) }
        if strange == 0, (56...72).contains(count) { return "there are \(count)" }
        if count == 64, strange <= 4 { return "\(strange) of them are none" }
        return nil
    }

    /// The 32 bytes of 44 characters in the standard alphabet; nil for anything else.
    private static func base64(_ text: String) -> [UInt8]? {
        guard text.utf8.count == 44, text.utf8.last == UInt8(ascii: "=") else { return nil }
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for character in text.utf8.dropLast() {
            let value: UInt8
            switch character {
            case 0x41...0x5A: value = character - 0x41
            case 0x61...0x7A: value = character - 0x61 + 26
            case 0x30...0x39: value = character - 0x30 + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
                bits &= (1 << UInt32(count)) - 1
            }
        }
        // 43 characters are 258 bits; the last two stand for nothing and are zero.
        return bits == 0 ? bytes : nil
    }
}
