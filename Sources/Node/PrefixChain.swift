package import Core
package import Cryptography

/// Hashes of a history as its client sees it: a chain over the roles and texts of its messages, keyed and bound to the
/// owner. The chain of a longer history goes on from that of a shorter one. Instructions are no part of it: clients
/// change them freely. Neither is white space around a text, which clients trim.
package struct PrefixChain: Sendable {
    private let key: SymmetricKey
    package private(set) var state: [UInt8]

    package init(owner: Owner, key: SymmetricKey) {
        self.key = key
        state = HMACSHA256.authenticate(Array("igris-prefix-1".utf8) + [0] + Array(owner.name.utf8), key: key)
    }

    /// Where another host of the swarm has left a chain.
    package init(state: [UInt8], key: SymmetricKey) {
        self.key = key
        self.state = state
    }

    /// Goes on with one message and returns the hash of the history that ends with it.
    package mutating func advance(over message: Message) -> PrefixHash {
        var text = Array(Self.trimmed(Array(message.text.utf8)))
        // Tool calls are what was said, too; a message without any has the same hash as before there were tools.
        for call in message.toolCalls {
            text += [0] + Array(call.id.utf8) + [0] + Array(call.name.utf8) + [0] + Array(call.arguments.utf8)
        }
        if let id = message.toolCallID { text += [0] + Array(id.utf8) }
        state = HMACSHA256.authenticate(state + Array(message.role.rawValue.utf8) + [0] + text, key: key)
        return PrefixHash(rawValue: state.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
    }

    private static func trimmed(_ text: [UInt8]) -> ArraySlice<UInt8> {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
        guard let first = text.firstIndex(where: { !isSpace($0) }), let last = text.lastIndex(where: { !isSpace($0) })
        else { return [] }
        return text[first...last]
    }
}
