import Core
import Glibc

extension Kind where Value == String {
    /// A text of so many bytes for which `isValid` holds.
    static func text(_ words: String, bytes: ClosedRange<Int>, isValid: @escaping (String) -> Bool = { _ in true })
        -> Kind
    {
        Kind(words: words, textForm: .text) { node, reading in
            let kind = Kind.text(words, bytes: bytes, isValid: isValid)
            guard let text = reading.text(node, kind) else { return nil }
            guard !text.isEmpty else { return reading.refuse(node, kind, found: "an empty text") }
            guard bytes.contains(text.utf8.count), isValid(text) else {
                return reading.refuse(node, kind, found: quoted(text))
            }
            return text
        } show: {
            .string($0)
        }
    }

    /// An address or a name to listen on.
    static var host: Kind {
        text("an address or a host name", bytes: 1...253) { text in
            text.utf8.allSatisfy { isNameByte($0) || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "%") }
        }
    }

    /// What may stand in a request's Host, without a port.
    static var hostName: Kind {
        text("a host name or an address without a port", bytes: 1...253) { text in
            text.utf8.allSatisfy(isNameByte) || AddressRange.isAddress(text)
        }
    }

    static var modelName: Kind {
        text("1 to 200 bytes of printable text", bytes: 1...200) { $0.first != " " && $0.last != " " }
    }

    /// Where an upstream's API begins. What is refused is not quoted: it may hold a password.
    static var upstreamURL: Kind {
        var kind = text("http://HOST[:PORT]/PATH or https://… without password or query", bytes: 1...2_048)
        let described = kind
        let read = kind.read
        kind.read = { node, reading in
            guard let url = read(node, &reading) else { return nil }
            let scheme = ["http://", "https://"].first(where: url.hasPrefix)
            let rest = url.dropFirst(scheme?.count ?? 0)
            guard scheme != nil, let first = rest.first, first != "/", first != ":",
                url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), !rest.contains(where: { "@?#\\".contains($0) })
            else { return reading.refuse(node, described, found: "the text of \(url.utf8.count) bytes given") }
            return url
        }
        return kind
    }

    static var keyName: Kind {
        text("1 to 64 letters, digits, dots, hyphens or underscores", bytes: 1...64) { $0.utf8.allSatisfy(isNameByte) }
    }

    static var argument: Kind { text("text", bytes: 1...65_536) }

    /// Read as an absolute path: `~/` is the home folder, and what is relative begins at the file's folder.
    static var path: Kind {
        let words = "a path"
        var kind = text(words, bytes: 1...4_096)
        let read = kind.read
        kind.read = { node, reading in
            guard let text = read(node, &reading) else { return nil }
            guard let path = reading.surroundings.resolve(text) else {
                reading.refuse(node, "begins with \"~\", and the home folder is not known; write the whole path")
                return nil
            }
            return path
        }
        return kind
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

extension Kind where Value == [String] {
    /// A program and its arguments; a program with a slash is a path.
    static var command: Kind {
        var kind = Kind.list(of: .argument, count: 1...1_000)
        kind.words = "a list of texts, a program and its arguments"
        let read = kind.read
        kind.read = { node, reading in
            guard var command = read(node, &reading) else { return nil }
            guard let program = command.first else {
                reading.refuse(node, "names no program")
                return nil
            }
            guard program.contains("/") else { return command }
            guard let path = reading.surroundings.resolve(program) else {
                reading.refuse(node, "begins with \"~\", and the home folder is not known; write the whole path")
                return nil
            }
            command[0] = path
            return command
        }
        return kind
    }
}

extension Kind where Value == Secret<String> {
    /// A text that is never shown. `isValid` says what of it is allowed beside its length.
    static func secret(
        _ words: String, bytes: ClosedRange<Int>, isValid: @escaping (String) -> Bool = { _ in true }
    ) -> Kind {
        var kind = Kind(words: words, textForm: .text) { _, _ in
            nil
        } show: {
            .string("\($0)")
        }
        kind.isSecret = true
        let described = kind
        kind.read = { node, reading in
            guard let text = reading.text(node, described) else { return nil }
            guard bytes.contains(text.utf8.count), isValid(text) else {
                let length = text.isEmpty ? "an empty text" : "the text of \(text.utf8.count) bytes given"
                return reading.refuse(node, described, found: length)
            }
            return Secret(text)
        }
        return kind
    }

    /// What a client sends to be let in: it must stand in a header.
    static var clientKey: Kind {
        secret("8 to 512 visible ASCII characters without spaces", bytes: 8...512) { text in
            text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        }
    }

    /// What an upstream wants: whatever it is, it must stand in a header.
    static var upstreamKey: Kind {
        secret("1 to 4096 visible ASCII characters without spaces", bytes: 1...4_096) { text in
            text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        }
    }

    static var encryptionKey: Kind { secret("1 to 1024 bytes of text", bytes: 1...1_024) }
}

extension Kind where Value == AddressRange {
    static var addressRange: Kind {
        Kind(words: "an address or a CIDR block as 192.168.0.0/16", textForm: .text) { node, reading in
            let kind = Kind.addressRange
            guard let text = reading.text(node, kind) else { return nil }
            guard let range = AddressRange(text) else { return reading.refuse(node, kind, found: quoted(text)) }
            guard !AddressRange.hasHostBits(text) else {
                let host = text.prefix { $0 != "/" }
                reading.refuse(
                    node, "\"\(text)\" is both a block and an address in it: write \"\(range)\" or \"\(host)\"")
                return nil
            }
            return range
        } show: {
            .string("\($0)")
        }
    }
}
