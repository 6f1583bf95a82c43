import Core
import Cryptography

/// The keys of a swarm that count at present, and what a host remembers beside them.
///
///     version u8 | entries | denied nodes | seen: count varint, (node 16, milliseconds u64)…
///
/// Nodes are a count (varint) and 16 bytes each.
struct SwarmRing: Sendable {
    static let version: UInt8 = 1
    /// One base and a few rotations on top of one another; more is no ring of ours.
    static let entries = 64

    enum Phase: UInt8, Comparable, Sendable {
        case install = 1
        case use = 2

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    /// One key.
    struct Entry: Sendable {
        /// Rises with each rotation; 0 for the key that the host was given.
        var number: UInt32
        var keys: SwarmKeys
        /// The tag of the key that it follows.
        var from: [UInt8]
        var initiator: NodeID
        /// Milliseconds since 1970 by the initiator's clock.
        var began: UInt64
        /// To whom it may be handed; nil for everyone with a link.
        var recipients: Set<NodeID>?
        var phase = Phase.install
        /// By this host's clock; 0 before.
        var usedSince: UInt64 = 0
        var installed: Set<NodeID> = []
        var using: Set<NodeID> = []

        func mayHave(_ node: NodeID) -> Bool { recipients?.contains(node) ?? true }

        /// Whether it comes before a key that another host holds: by number, then by the lower tag.
        func beats(_ number: UInt32, _ tag: [UInt8]) -> Bool {
            self.number > number || self.number == number && keys.tag.lexicographicallyPrecedes(tag)
        }
    }

    /// The oldest that is not retired first, the newest last; never empty. All but the last are in use.
    private(set) var entries: [Entry]
    var denied: Set<NodeID> = []
    /// When each host was last heard of, in milliseconds since 1970.
    var seen: [NodeID: UInt64] = [:]

    init(root: SwarmKeys) {
        entries = [
            Entry(
                number: 0, keys: root, from: root.tag, initiator: NodeID(Bytes16(high: 0, low: 0)), began: 0,
                recipients: nil, phase: .use)
        ]
    }

    var top: Entry {
        get { entries[entries.count - 1] }
        set { entries[entries.count - 1] = newValue }
    }

    /// No rotation is under way.
    var isSettled: Bool { entries.count == 1 }

    /// The key that is shown: the newest in use.
    var primary: Entry { entries.last { $0.phase == .use } ?? entries[0] }
    var accepted: [Entry] { entries.filter { $0.keys.tag != primary.keys.tag } }

    /// Takes a newer key. One of the same number that it beats was begun at the same time elsewhere and is dropped,
    /// unless nothing else is left of what it began from.
    mutating func add(_ entry: Entry) {
        while entries.count > 1, top.number >= entry.number { entries.removeLast() }
        if entries.count >= Self.entries { entries.remove(at: 1) }
        entries.append(entry)
    }

    /// What ``add(_:)`` would drop.
    func dropped(by entry: Entry) -> [Entry] { entries.dropFirst().filter { $0.number >= entry.number } }

    /// The wall clock was set from one time to another: what was noted by it moves along. Small steps count as drift.
    mutating func follow(from expected: UInt64, to wall: UInt64) {
        let step = max(expected, wall) - min(expected, wall)
        guard step > 60_000 else { return }
        func moved(_ time: UInt64) -> UInt64 {
            wall > expected ? time + min(step, .max - time) : time - min(step, time)
        }
        seen = seen.mapValues(moved)
        for index in entries.indices where entries[index].usedSince > 0 {
            entries[index].usedSince = moved(entries[index].usedSince)
        }
    }

    /// Retires all but the newest.
    mutating func settle() { entries.removeFirst(entries.count - 1) }

    /// What either knows: the keys of the one with the newer, all confirmations, denials and hosts seen.
    func merged(with other: SwarmRing) -> SwarmRing {
        let isBehind = other.top.beats(top.number, top.keys.tag)
        var (merged, rest) = isBehind ? (other, self) : (self, other)
        if merged.top.keys.tag == rest.top.keys.tag {
            merged.top.installed.formUnion(rest.top.installed)
            merged.top.using.formUnion(rest.top.using)
            if merged.top.phase < rest.top.phase {
                merged.top.phase = rest.top.phase
                merged.top.usedSince = rest.top.usedSince
            }
            if rest.isSettled, rest.top.number == merged.top.number { merged.settle() }
        }
        merged.denied.formUnion(rest.denied)
        merged.seen.merge(rest.seen) { max($0, $1) }
        for node in merged.denied { merged.seen[node] = nil }
        return merged
    }

    /// Whether a peer may rely on it only once it is on disk.
    func isWorthKeeping(since before: SwarmRing) -> Bool {
        denied != before.denied || entries.map(\.keys.tag) != before.entries.map(\.keys.tag)
            || entries.map(\.phase) != before.entries.map(\.phase)
            || entries.map(\.number) != before.entries.map(\.number)
    }

    // MARK: - Bytes

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(varint: UInt64(entries.count))
        for entry in entries {
            writer.put(entry)
            writer.put(entry.phase.rawValue)
            writer.put(bigEndian: entry.usedSince)
            writer.put(entry.installed)
            writer.put(entry.using)
        }
        writer.put(denied)
        writer.put(varint: UInt64(seen.count))
        for (node, at) in seen.sorted(by: { $0.key < $1.key }) {
            writer.put(node.bytes)
            writer.put(bigEndian: at)
        }
        return writer.bytes
    }

    init(_ bytes: [UInt8]) throws(RuntimeError) {
        var reader = ByteReader(bytes)
        guard try reader.byte() == Self.version else {
            throw RuntimeError(.configuration, "the swarm's keys were kept by a newer version of igris-runtime")
        }
        entries = []
        for _ in 0..<(try reader.count(atMost: Self.entries)) {
            var entry = try reader.entry()
            guard let phase = Phase(rawValue: try reader.byte()) else {
                throw RuntimeError(.corrupt, "a swarm key is in an unknown phase")
            }
            entry.phase = phase
            entry.usedSince = try reader.bigEndian64()
            entry.installed = try reader.nodes()
            entry.using = try reader.nodes()
            entries.append(entry)
        }
        guard !entries.isEmpty else { throw RuntimeError(.corrupt, "a ring without keys") }
        denied = try reader.nodes()
        for _ in 0..<(try reader.count(atMost: Limits.knownHosts)) {
            let node = NodeID(try reader.bytes16())
            seen[node] = try reader.bigEndian64()
        }
        try reader.expectEnd()
    }
}

extension ByteWriter {
    /// number varint | key 32 | from 16 | initiator 16 | began u64 | 0, or 1 and the recipients
    mutating func put(_ entry: SwarmRing.Entry) {
        put(varint: UInt64(entry.number))
        put(raw: entry.keys.key.reveal())
        put(raw: entry.from)
        put(entry.initiator.bytes)
        put(bigEndian: entry.began)
        put(entry.recipients == nil ? 0 : 1)
        if let recipients = entry.recipients { put(recipients) }
    }

    mutating func put(_ nodes: Set<NodeID>) {
        put(varint: UInt64(nodes.count))
        for node in nodes.sorted() { put(node.bytes) }
    }
}

extension ByteReader {
    mutating func entry() throws(RuntimeError) -> SwarmRing.Entry {
        guard let number = UInt32(exactly: try varint()) else {
            throw RuntimeError(.corrupt, "a swarm key has a number that none has")
        }
        let key = SymmetricKey(try raw(32))
        let keys: SwarmKeys
        do {
            keys = try SwarmKeys(key)
        } catch {
            throw RuntimeError(.internal, "a swarm key cannot be used", cause: error)
        }
        return SwarmRing.Entry(
            number: number, keys: keys, from: try raw(SwarmKeys.tagBytes), initiator: NodeID(try bytes16()),
            began: try bigEndian64(), recipients: try byte() == 0 ? nil : try nodes())
    }

    mutating func nodes() throws(RuntimeError) -> Set<NodeID> {
        var nodes: Set<NodeID> = []
        for _ in 0..<(try count(atMost: Limits.knownHosts)) { nodes.insert(NodeID(try bytes16())) }
        return nodes
    }
}
