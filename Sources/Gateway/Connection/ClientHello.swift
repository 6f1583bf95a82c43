import Core

/// The first message of a TLS handshake (RFC 8446 §4.1.2), read as far as is needed to know whom the client asks for.
/// Pure: bytes in, a finding out. Whatever is wrong with it is left to the TLS library, which knows what to say.
enum ClientHello {
    enum Finding: Hashable {
        /// Nothing more is known before so many bytes have come in all.
        case needsMore(Int)
        /// The server name (RFC 6066 §3), lower case; nil where it names none, or cannot be read.
        case name(String?)
    }

    /// What clients send is a few thousand bytes, keys that withstand quantum computers included. More is not looked at.
    static let longest = 16 * 1024

    /// RFC 8446 §5.1, and what older versions add.
    private static let longestRecord = 16 * 1024 + 2_048
    private static let handshakeRecord: UInt8 = 22
    private static let clientHello: UInt8 = 1
    private static let serverNameExtension = 0
    private static let hostName: UInt8 = 0

    /// - Parameter bytes: all that came so far, from the first byte of the connection.
    static func read(_ bytes: [UInt8]) -> Finding {
        var message: [UInt8] = []
        var records = Cursor(bytes.prefix(longest))
        var end = 0
        // A message may be cut into records, and records into segments.
        while true {
            if let length = length(of: message), message.count >= length + 4 {
                return .name(serverName(Cursor(message[4..<length + 4])))
            }
            if let kind = records.peek(), kind != handshakeRecord { return .name(nil) }
            guard records.skip(3), let count = records.number(2) else { return more(end + 5, bytes.count) }
            guard (1...longestRecord).contains(count) else { return .name(nil) }
            end += 5 + count
            guard let part = records.take(count) else {
                // The kind stands in the first byte, wherever the end may be.
                if message.isEmpty, let kind = records.peek(), kind != clientHello { return .name(nil) }
                return more(end, bytes.count)
            }
            message += part
            if message.first != clientHello { return .name(nil) }
        }
    }

    private static func more(_ wanted: Int, _ count: Int) -> Finding {
        count < longest ? .needsMore(min(wanted, longest)) : .name(nil)
    }

    /// Of the message behind its own four bytes of head; nil before those are there.
    private static func length(of message: [UInt8]) -> Int? {
        var head = Cursor(message.prefix(4))
        guard head.skip(1) else { return nil }
        return head.number(3)
    }

    private static func serverName(_ hello: Cursor) -> String? {
        var hello = hello
        // The version and the random number; the session, the ciphers and the compressions, each behind its length.
        guard hello.skip(34), let session = hello.number(1), hello.skip(session), let ciphers = hello.number(2),
            hello.skip(ciphers), let compressions = hello.number(1), hello.skip(compressions),
            let length = hello.number(2), let list = hello.take(length)
        else { return nil }
        var extensions = Cursor(list)
        while let kind = extensions.number(2), let count = extensions.number(2), let body = extensions.take(count) {
            guard kind == serverNameExtension else { continue }
            var names = Cursor(body)
            guard names.skip(2), names.number(1) == Int(hostName), let count = names.number(2),
                let name = names.take(count)
            else { return nil }
            return String(validating: name, as: UTF8.self)?.lowercased()
        }
        return nil
    }

    /// Takes bytes from the front, and never more than there are.
    private struct Cursor {
        private var rest: ArraySlice<UInt8>

        init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

        func peek() -> UInt8? { rest.first }

        mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
            guard count >= 0, rest.count >= count else { return nil }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }

        mutating func skip(_ count: Int) -> Bool { take(count) != nil }

        /// Of so many bytes, at most three, the most significant first.
        mutating func number(_ count: Int) -> Int? { take(count)?.reduce(0) { $0 << 8 | Int($1) } }
    }
}
