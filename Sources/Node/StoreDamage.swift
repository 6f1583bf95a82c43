package import Core

/// What is known of damage in this host's store.
struct StoreDamage: Sendable {
    /// Damaged operations, with their conversation where that can be told.
    private(set) var operations: [Dot: StreamID?] = [:]
    /// Put right since the start.
    var repaired = 0
    /// Conversations whose rows must be looked at once everything is there again.
    var touched: Set<StreamID> = []
    /// How far each origin's chain was followed over sound rows.
    var chains: [Origin: LogHead] = [:]
    /// What was asked for since the last whole look, up to here.
    private var asked: [Origin: UInt64] = [:]

    var isEmpty: Bool { operations.isEmpty }
    /// Conversations that are known to be hit.
    var streams: [StreamID] { Set(operations.values.compactMap(\.self)).sorted() }

    /// Returns those that are news.
    mutating func note(_ found: [ScrubbedRows.Damaged]) -> [ScrubbedRows.Damaged] {
        let news = found.filter { operations.updateValue($0.stream, forKey: $0.dot) == nil }
        return news
    }

    /// A whole look is over: what it did not find has been put right.
    mutating func found(_ dots: Set<Dot>) {
        operations = operations.filter { dots.contains($0.key) }
        asked = [:]
    }

    mutating func mended(_ dots: [Dot]) {
        for dot in dots { operations[dot] = nil }
        repaired += dots.count
    }

    /// The first of each origin that was not asked for yet, once each.
    mutating func next() -> [Dot] {
        var first: [Origin: UInt64] = [:]
        for dot in operations.keys where dot.sequence > asked[dot.origin] ?? 0 {
            first[dot.origin] = min(first[dot.origin] ?? .max, dot.sequence)
        }
        for (origin, sequence) in first { asked[origin] = sequence }
        return first.map { Dot(origin: $0.key, sequence: $0.value) }.sorted()
    }

    /// A batch up to here has come: what is still damaged of it nobody has.
    mutating func took(_ origin: Origin, upTo sequence: UInt64) { asked[origin] = sequence }
}

/// What a look at this host's whole store has found.
package struct StoreVerification: Sendable {
    package struct Finding: Hashable, Sendable {
        package var operation: Dot
        package var stream: StreamID?
        package var conversation: ConversationID?
        package var isRepaired: Bool
    }

    package var findings: [Finding]
    /// Of each conversation, and of what is left of deleted ones.
    package var streams: [StreamID: StreamDigest]
}

/// All that a store holds of one conversation, as one number: the sum of the hashes of its operations, so that their
/// order does not matter.
package struct StreamDigest: Hashable, Sendable {
    package var operations: UInt64 = 0
    package var sum = Bytes16(high: 0, low: 0)

    package init() {}

    package init(operations: UInt64, sum: Bytes16) {
        self.operations = operations
        self.sum = sum
    }

    /// - Parameter hash: SHA-256 over an operation's place and content.
    mutating func add(_ hash: [UInt8]) {
        guard let value = Bytes16(hash.prefix(16)) else { return }
        operations += 1
        sum = Bytes16(high: sum.high &+ value.high, low: sum.low &+ value.low)
    }
}

/// The digests of a store's conversations as they travel to a peer that compares them.
///
///     version u8 | count varint | stream 16, operations varint, sum 16…
package enum StreamDigestCodec {
    private static let version: UInt8 = 1

    package static func encode(_ streams: [StreamID: StreamDigest]) -> [UInt8] {
        var writer = ByteWriter()
        writer.reserve(16 + streams.count * 36)
        writer.put(version)
        writer.put(varint: UInt64(streams.count))
        for (stream, digest) in streams.sorted(by: { $0.key < $1.key }) {
            writer.put(stream.bytes)
            writer.put(varint: digest.operations)
            writer.put(digest.sum)
        }
        return writer.bytes
    }

    /// Throws ``RuntimeError`` `.corrupt` on anything else.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> [StreamID: StreamDigest] {
        var reader = ByteReader(bytes)
        guard try reader.byte() == version else {
            throw RuntimeError(.corrupt, "a peer's digests are in a form that this version does not know")
        }
        let count = try reader.varint()
        guard count <= UInt64(bytes.count / 33) else { throw RuntimeError(.corrupt, "a peer counts too many digests") }
        var streams: [StreamID: StreamDigest] = [:]
        for _ in 0..<count {
            let stream = StreamID(try reader.bytes16())
            streams[stream] = StreamDigest(operations: try reader.varint(), sum: try reader.bytes16())
        }
        try reader.expectEnd()
        return streams
    }
}
