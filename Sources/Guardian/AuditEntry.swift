package import Core
internal import Cryptography

/// What somebody was refused, or did with rights that not everyone has. Never what was said, and no secret: names, ids,
/// addresses and the pattern of a path.
package struct AuditEvent: Hashable, Sendable {
    package enum Kind: UInt8, Hashable, Sendable {
        case denied = 1
        case privileged = 2
        /// Something was read from the zone of which that is all that may be done.
        case external = 3

        package var word: String {
            switch self {
            case .denied: "denied"
            case .privileged: "privileged"
            case .external: "external"
            }
        }
    }

    package var kind: Kind
    /// The owner as whom it was asked; empty where that is not known.
    package var caller: String
    /// The id of the token that was shown; empty without one.
    package var token: String
    /// Empty for the daemon's own socket.
    package var address: String
    /// `POST /v1/admin/tokens`: the method and the route's pattern.
    package var action: String
    /// To what: a name or an id of the path; empty where the route has none.
    package var target: String
    package var status: Int
    /// The error's; empty for none.
    package var code: String

    package init(
        _ kind: Kind, caller: String = "", token: String = "", address: String = "", action: String,
        target: String = "", status: Int, code: String = ""
    ) {
        self.kind = kind
        self.caller = caller
        self.token = token
        self.address = address
        self.action = action
        self.target = target
        self.status = status
        self.code = code
    }
}

/// One link of a host's chain: an event, how often it happened, and the hash of the link before it.
///
///     version u8 | kind u8 | number varint | previous 32 | milliseconds varint | count varint | status varint
///     | caller, token, address, action, target, code: length-prefixed
package struct AuditEntry: Hashable, Sendable {
    /// From 1, without gaps.
    package var number: UInt64
    /// SHA-256 of the entry before; zeroes before the first.
    package var previous: [UInt8]
    /// Since 1970.
    package var milliseconds: UInt64
    /// How often it happened, in the minute before where that is more than once.
    package var count: UInt64
    package var event: AuditEvent

    private static let version: UInt8 = 1
    private static let textBytes = 256

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(event.kind.rawValue)
        writer.put(varint: number)
        writer.put(raw: previous)
        writer.put(varint: milliseconds)
        writer.put(varint: count)
        writer.put(varint: UInt64(clamping: event.status))
        for text in [event.caller, event.token, event.address, event.action, event.target, event.code] {
            writer.put(lengthPrefixed: Self.bounded(text))
        }
        return writer.bytes
    }

    package var hash: [UInt8] { SHA256.hash(encoded) }

    /// Throws ``RuntimeError`` `.corrupt`.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> AuditEntry {
        var reader = ByteReader(bytes)
        guard try reader.byte() == version, let kind = AuditEvent.Kind(rawValue: try reader.byte()) else {
            throw RuntimeError(.corrupt, "an entry of the audit log is not in a form that this version knows")
        }
        let number = try reader.varint()
        let previous = try reader.raw(32)
        let milliseconds = try reader.varint()
        let count = try reader.varint()
        let status = Int(clamping: try reader.varint())
        var texts: [String] = []
        for _ in 0..<6 {
            let bytes = try reader.lengthPrefixed(atMost: textBytes)
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw RuntimeError(.corrupt, "an entry of the audit log holds bytes that are no text")
            }
            texts.append(text)
        }
        try reader.expectEnd()
        return AuditEntry(
            number: number, previous: previous, milliseconds: milliseconds, count: count,
            event: AuditEvent(
                kind, caller: texts[0], token: texts[1], address: texts[2], action: texts[3], target: texts[4],
                status: status, code: texts[5]))
    }

    /// Cut between characters.
    private static func bounded(_ text: String) -> [UInt8] {
        guard text.utf8.count > textBytes else { return Array(text.utf8) }
        // At least a byte each: what is behind so many characters has no room.
        var cut = String(text.prefix(textBytes))
        while cut.utf8.count > textBytes { cut.removeLast() }
        return Array(cut.utf8)
    }
}
