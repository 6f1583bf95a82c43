/// A name of sixteen bytes, ordered as they are and shown as 32 hexadecimal digits. Each kind is a type of its own, so
/// that none is taken for another.
package protocol Identifier: Hashable, Comparable, Sendable, CustomStringConvertible {
    var bytes: Bytes16 { get }

    init(_ bytes: Bytes16)
}

extension Identifier {
    package init?(hex: some StringProtocol) {
        guard let bytes = Bytes16(hex: hex) else { return nil }
        self.init(bytes)
    }

    package var description: String { bytes.description }
    package static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }
}

/// The identity of one host: the first 16 bytes of SHA-256 over its Ed25519 public key (swarm.md §1).
package struct NodeID: Identifier {
    package let bytes: Bytes16

    package init(_ bytes: Bytes16) { self.bytes = bytes }

    fileprivate var word: UInt64 { bytes.high ^ bytes.low &* 0xFF51_AFD7_ED55_8CCD }
    package func _rawHashValue(seed: Int) -> Int { Mix.hash(word, seed) }
}

/// A hash of what members alone bring about: ids are hashes themselves, so a multiplication spreads them (Knuth 6.4),
/// at a tenth of the cost of the standard one. Logs are looked up by origins and dots several times with each operation.
/// What strangers choose is hashed as usual.
private enum Mix {
    static func hash(_ word: UInt64, _ seed: Int) -> Int {
        let mixed = (word ^ UInt64(bitPattern: Int64(seed))) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed ^ mixed >> 32)
    }
}

/// The identity of one stream of operations; for a conversation, a hash of its owner and its id.
package struct StreamID: Identifier {
    package let bytes: Bytes16

    package init(_ bytes: Bytes16) { self.bytes = bytes }
}

/// One writing stream of one host. The epoch rises whenever the host cannot be sure that it still holds all it wrote
/// (new store, restored backup), so that no two operations ever share a dot (swarm.md §1).
package struct Origin: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let node: NodeID
    package let epoch: UInt32

    package init(node: NodeID, epoch: UInt32) {
        self.node = node
        self.epoch = epoch
    }

    fileprivate var word: UInt64 { node.word ^ UInt64(epoch) &* 0xD6E8_FEB8_6659_FD93 }
    package func _rawHashValue(seed: Int) -> Int { Mix.hash(word, seed) }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(node.bytes.high)
        hasher.combine(node.bytes.low ^ UInt64(epoch) << 32)
    }

    package var description: String { "\(node)/\(epoch)" }
    package static func < (left: Origin, right: Origin) -> Bool {
        (left.node, left.epoch) < (right.node, right.epoch)
    }
}

/// The name of one operation: the `sequence`-th (from 1, without gaps) of its origin.
package struct Dot: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let origin: Origin
    package let sequence: UInt64

    package init(origin: Origin, sequence: UInt64) {
        self.origin = origin
        self.sequence = sequence
    }

    package func _rawHashValue(seed: Int) -> Int { Mix.hash(origin.word ^ sequence &* 0xC2B2_AE3D_27D4_EB4F, seed) }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(origin.node.bytes.high)
        hasher.combine(origin.node.bytes.low ^ UInt64(origin.epoch) << 32 ^ sequence)
    }

    package var description: String { "\(origin)/\(sequence)" }
    package static func < (left: Dot, right: Dot) -> Bool {
        (left.origin, left.sequence) < (right.origin, right.sequence)
    }

    /// 56 hexadecimal digits: as a part of an id that clients carry about.
    package var digits: String {
        var writer = ByteWriter()
        writer.put(origin.node.bytes)
        writer.put(bigEndian: origin.epoch)
        writer.put(bigEndian: sequence)
        return writer.bytes.hex
    }

    /// Nil for anything but the digits of a dot.
    package init?(digits: some StringProtocol) {
        guard digits.utf8.count == 56, let bytes = [UInt8](hex: digits) else { return nil }
        var reader = ByteReader(bytes)
        guard let node = try? reader.bytes16(), let epoch = try? reader.bigEndian32(),
            let sequence = try? reader.bigEndian64(), sequence > 0
        else { return nil }
        self.init(origin: Origin(node: NodeID(node), epoch: epoch), sequence: sequence)
    }
}

/// A conversation's id as clients see it: chosen by them or made here. Not a secret; every access checks the owner.
package struct ConversationID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: String

    /// Nil when the text is empty, longer than ``Limits/conversationIDBytes``, or holds a character that could not
    /// stand in a header (outside 0x21…0x7E).
    package init?(_ text: String) {
        guard !text.isEmpty, text.utf8.count <= Limits.conversationIDBytes,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        rawValue = text
    }

    /// An id made here: `prefix` and the hexadecimal digits of at most 32 bytes.
    package init(_ prefix: StaticString, hexOf bytes: some Sequence<UInt8>) {
        rawValue = "\(prefix)\(Array(bytes.prefix(32)).hex)"
    }

    package var description: String { rawValue }
}

/// Whose data something is: an API key's id, or the loopback user. A conversation belongs to exactly one owner.
package struct Owner: Hashable, Sendable, CustomStringConvertible {
    package let name: String

    package init(name: String) { self.name = name }
    /// Everyone who reaches this host over loopback without a key: the machine's own user.
    package static let local = Owner(name: "local")

    package var description: String { name }
}
