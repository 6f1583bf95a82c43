// The bytes of `ReplicationMessage` (swarm.md §1, §2). Both ends of a session keep the same tables, so that an origin, a
// conversation and an author's key travel once; links keep order and lose nothing.
//
//     message    = channel u8 | type u8 | …
//     origin     = 0, node 16, epoch varint: it takes the next place of the table | 1 + its place, varint
//     stream     = the same with 16 bytes
//     batch      = origin | varint count · 2 + whether the author's key follows | ±(first - the one expected)
//                | author 32? | signature 64 | operations
//     operation  = u8: kind 4 bits, erased, other flags, usual beginning of the body, counter
//                | kind u8? | flags u8? | ±milliseconds since the last one | counter varint? | stream
//                | count varint, (origin, ±sequence)… | length varint, body
//
// A table has 4,096 places that are filled in turn. ± is a zigzag varint. What a lone turn takes beside its text is
// 64 bytes of signature and about 17 others.

package import Core

/// The places of values that travel once. Sender and receiver go through the same states.
private struct Places<Value: Hashable & Sendable>: Sendable {
    static var capacity: Int { 4_096 }

    private var places: [Value: Int] = [:]
    private var values: [Value] = []
    private var next = 0

    func place(of value: Value) -> Int? { places[value] }
    func value(at place: Int) -> Value? { values.indices.contains(place) ? values[place] : nil }

    mutating func add(_ value: Value) -> Int {
        let place = next
        if place < values.count {
            places[values[place]] = nil
            values[place] = value
        } else {
            values.append(value)
        }
        places[value] = place
        next = (next + 1) % Self.capacity
        return place
    }
}

/// What both sides remember of the messages before.
private struct SessionTables: Sendable {
    var origins = Places<Origin>()
    var streams = Places<StreamID>()
    /// By the origin's place.
    var authors: [Int: [UInt8]] = [:]
    /// The last sequence of the origin that travelled in a batch, by place.
    var sequences: [Int: UInt64] = [:]
    var milliseconds: UInt64 = 0

    mutating func add(_ origin: Origin) -> Int {
        let place = origins.add(origin)
        authors[place] = nil
        sequences[place] = nil
        return place
    }
}

private enum MessageType {
    static let push: UInt8 = 1
    static let answer: UInt8 = 2
    static let vector: UInt8 = 3
    static let keepalive: UInt8 = 4
    static let stored: UInt8 = 5
    static let pull: UInt8 = 6
    static let nothing: UInt8 = 7
    static let neighbours: UInt8 = 8
    static let heads: UInt8 = 9
    static let fragment: UInt8 = 10
    static let holdings: UInt8 = 11
}

private enum OperationBits {
    static let kind: UInt8 = 0x0F
    static let erased: UInt8 = 0x10
    static let flags: UInt8 = 0x20
    static let usualBody: UInt8 = 0x40
    static let counter: UInt8 = 0x80

    /// What nearly every body of the kind begins with (``TurnCodec``): the role, and that the text follows.
    static func usualBeginning(of kind: Operation.Kind) -> [UInt8] {
        switch kind {
        case .userTurn: [1, 4] + Array("user".utf8) + [2]
        case .assistantTurn: [1, 9] + Array("assistant".utf8) + [2]
        default: []
        }
    }
}

/// One direction of one session, the sending side. Everything that it encodes must be sent, in order.
package struct ReplicationEncoder: Sendable {
    private var tables = SessionTables()

    package init() {}

    /// Whole messages for the link: more than one where one would be longer than a link takes.
    package mutating func encode(_ message: ReplicationMessage) -> [[UInt8]] {
        var writer = ByteWriter()
        writer.put(LinkChannel.replication.rawValue)
        switch message {
        case .push(let batches):
            writer.put(MessageType.push)
            for batch in batches { put(batch, into: &writer) }
        case .answer(let batch):
            writer.put(MessageType.answer)
            put(batch, into: &writer)
        case .vector(let marks, let isWhole, let isQuestion, let digest):
            writer.put(MessageType.vector)
            writer.put((isWhole ? 1 : 0) | (isQuestion ? 2 : 0))
            writer.put(digest)
            put(marks, into: &writer)
        case .keepalive(let digest):
            writer.put(MessageType.keepalive)
            writer.put(digest)
        case .stored(let marks):
            writer.put(MessageType.stored)
            put(marks, into: &writer)
        case .pull(let marks):
            writer.put(MessageType.pull)
            put(marks, into: &writer)
        case .nothing(let mark):
            writer.put(MessageType.nothing)
            put([mark], into: &writer)
        case .neighbours(let nodes):
            writer.put(MessageType.neighbours)
            for node in nodes { writer.put(node.bytes) }
        case .heads(let heads):
            writer.put(MessageType.heads)
            for head in heads {
                put([head.mark], into: &writer)
                writer.put(head.chain)
            }
        case .holdings(let holdings):
            writer.put(MessageType.holdings)
            for holding in holdings {
                writer.put(holding.node.bytes)
                writer.put(varint: UInt64(holding.marks.count))
                put(holding.marks, into: &writer)
            }
        }
        return Self.fragments(writer.bytes)
    }

    private static let fragmentBytes = Limits.linkMessageBytes / 2

    private static func fragments(_ bytes: [UInt8]) -> [[UInt8]] {
        guard bytes.count > fragmentBytes else { return [bytes] }
        return stride(from: 0, to: bytes.count, by: fragmentBytes).map { start in
            let end = min(bytes.count, start + fragmentBytes)
            return [LinkChannel.replication.rawValue, MessageType.fragment, end == bytes.count ? 1 : 0]
                + bytes[start..<end]
        }
    }

    private mutating func put(_ marks: [ReplicationMessage.Mark], into writer: inout ByteWriter) {
        for mark in marks {
            _ = put(mark.origin, into: &writer)
            writer.put(varint: mark.sequence)
        }
    }

    private mutating func put(_ origin: Origin, into writer: inout ByteWriter) -> Int {
        if let place = tables.origins.place(of: origin) {
            writer.put(varint: UInt64(place) + 1)
            return place
        }
        writer.put(varint: 0)
        writer.put(origin.node.bytes)
        writer.put(varint: UInt64(origin.epoch))
        return tables.add(origin)
    }

    private mutating func put(_ batch: OperationBatch, into writer: inout ByteWriter) {
        let place = put(batch.origin, into: &writer)
        let first = batch.operations.first?.dot.sequence ?? 1
        let hasAuthor = tables.authors[place] != batch.seal.author
        writer.put(varint: UInt64(batch.operations.count) << 1 | (hasAuthor ? 1 : 0))
        writer.put(zigzag: first &- (tables.sequences[place] ?? 0) &- 1)
        if hasAuthor {
            writer.put(raw: batch.seal.author)
            tables.authors[place] = batch.seal.author
        }
        writer.put(raw: batch.seal.signature)
        for operation in batch.operations { put(operation, into: &writer) }
        // The place may have been given to another origin meanwhile; the receiver does the same.
        tables.sequences[place] = batch.seal.sequence
    }

    private mutating func put(_ operation: Operation, into writer: inout ByteWriter) {
        let kind = operation.kind.rawValue
        let beginning = OperationBits.usualBeginning(of: operation.kind)
        let isUsual = !beginning.isEmpty && operation.body.starts(with: beginning)
        let milliseconds = operation.timestamp.milliseconds
        let counter = operation.timestamp.rawValue & 0xFFFF
        let isErased = operation.flags == .erased
        let hasFlags = !isErased && !operation.flags.isEmpty
        var bits = min(kind, OperationBits.kind)
        if isErased { bits |= OperationBits.erased }
        if hasFlags { bits |= OperationBits.flags }
        if isUsual { bits |= OperationBits.usualBody }
        if counter != 0 { bits |= OperationBits.counter }
        writer.put(bits)
        if kind >= OperationBits.kind { writer.put(kind) }
        if hasFlags { writer.put(operation.flags.rawValue) }
        writer.put(zigzag: milliseconds &- tables.milliseconds)
        tables.milliseconds = milliseconds
        if counter != 0 { writer.put(varint: counter) }
        if let place = tables.streams.place(of: operation.stream) {
            writer.put(varint: UInt64(place) + 1)
        } else {
            writer.put(varint: 0)
            writer.put(operation.stream.bytes)
            _ = tables.streams.add(operation.stream)
        }
        writer.put(varint: UInt64(operation.dependencies.count))
        for dependency in operation.dependencies {
            let place = put(dependency.origin, into: &writer)
            let near =
                dependency.origin == operation.dot.origin ? operation.dot.sequence : tables.sequences[place] ?? 0
            writer.put(zigzag: dependency.sequence &- near)
        }
        writer.put(lengthPrefixed: isUsual ? operation.body.dropFirst(beginning.count) : operation.body[...])
    }
}

/// One direction of one session, the receiving side: hostile bytes in, messages out.
package struct ReplicationDecoder: Sendable {
    private var tables = SessionTables()
    private var fragments: [UInt8] = []

    /// A message that came in pieces is at most so long.
    private static let wholeBytes = 40 * 1024 * 1024
    private static let dependencies = 256 * 1_024

    package init() {}

    /// Nil for a message of a type that this version does not know, and for a piece of one. After an error nothing
    /// that follows can be understood: the session is over.
    package mutating func decode(_ bytes: [UInt8]) throws(RuntimeError) -> ReplicationMessage? {
        var reader = ByteReader(bytes)
        guard try reader.byte() == LinkChannel.replication.rawValue else {
            throw RuntimeError(.corrupt, "the message belongs to another channel")
        }
        let message: ReplicationMessage
        switch try reader.byte() {
        case MessageType.push:
            var batches: [OperationBatch] = []
            var dependencies = 0
            repeat { batches.append(try batch(&reader, &dependencies)) } while !reader.isAtEnd
            message = .push(batches)
        case MessageType.answer:
            var dependencies = 0
            message = .answer(try batch(&reader, &dependencies))
        case MessageType.vector:
            let bits = try reader.byte()
            let digest = try reader.bytes16()
            message = .vector(
                try marks(&reader), isWhole: bits & 1 != 0, isQuestion: bits & 2 != 0, digest: digest)
        case MessageType.keepalive: message = .keepalive(digest: try reader.bytes16())
        case MessageType.stored: message = .stored(try marks(&reader))
        case MessageType.pull: message = .pull(try marks(&reader))
        case MessageType.nothing: message = .nothing(try mark(&reader))
        case MessageType.neighbours:
            var nodes: [NodeID] = []
            while !reader.isAtEnd, nodes.count < Limits.knownHosts { nodes.append(NodeID(try reader.bytes16())) }
            message = .neighbours(nodes)
        case MessageType.heads:
            var heads: [ReplicationMessage.Head] = []
            while !reader.isAtEnd {
                let mark = try mark(&reader)
                heads.append(ReplicationMessage.Head(mark, try reader.bytes16()))
            }
            message = .heads(heads)
        case MessageType.holdings:
            var holdings: [ReplicationMessage.Holding] = []
            while !reader.isAtEnd {
                var holding = ReplicationMessage.Holding(node: NodeID(try reader.bytes16()), marks: [])
                for _ in 0..<(try reader.count(atMost: Limits.knownHosts)) { holding.marks.append(try mark(&reader)) }
                holdings.append(holding)
            }
            message = .holdings(holdings)
        case MessageType.fragment:
            return try fragment(&reader)
        default:
            return nil
        }
        try reader.expectEnd()
        return message
    }

    private mutating func fragment(_ reader: inout ByteReader) throws(RuntimeError) -> ReplicationMessage? {
        let isLast = try reader.byte() == 1
        fragments += reader.rest()
        guard fragments.count <= Self.wholeBytes else {
            fragments = []
            throw RuntimeError(.corrupt, "a message in pieces is longer than \(Self.wholeBytes) bytes")
        }
        guard isLast else { return nil }
        let whole = fragments
        fragments = []
        // A piece within pieces would let a message call for itself without end.
        guard whole.count > 1, whole[1] != MessageType.fragment else {
            throw RuntimeError(.corrupt, "a piece of a message holds pieces")
        }
        return try decode(whole)
    }

    private mutating func marks(_ reader: inout ByteReader) throws(RuntimeError) -> [ReplicationMessage.Mark] {
        var marks: [ReplicationMessage.Mark] = []
        while !reader.isAtEnd { marks.append(try mark(&reader)) }
        return marks
    }

    private mutating func mark(_ reader: inout ByteReader) throws(RuntimeError) -> ReplicationMessage.Mark {
        let origin = try origin(&reader).origin
        return ReplicationMessage.Mark(origin, try reader.varint())
    }

    private mutating func origin(
        _ reader: inout ByteReader
    ) throws(RuntimeError) -> (place: Int, origin: Origin) {
        let number = try reader.varint()
        if number > 0 {
            let place = Int(clamping: number - 1)
            guard let origin = tables.origins.value(at: place) else {
                throw RuntimeError(.corrupt, "an origin is named that was not introduced")
            }
            return (place, origin)
        }
        let node = NodeID(try reader.bytes16())
        guard let epoch = UInt32(exactly: try reader.varint()) else {
            throw RuntimeError(.corrupt, "an epoch is longer than 32 bits")
        }
        let origin = Origin(node: node, epoch: epoch)
        // Introduced twice, the sender's table would no longer be this one.
        guard tables.origins.place(of: origin) == nil else {
            throw RuntimeError(.corrupt, "an origin is introduced twice")
        }
        return (tables.add(origin), origin)
    }

    private mutating func batch(
        _ reader: inout ByteReader, _ dependencies: inout Int
    ) throws(RuntimeError) -> OperationBatch {
        let (place, origin) = try origin(&reader)
        let number = try reader.varint()
        let count = number >> 1
        let first = (tables.sequences[place] ?? 0) &+ 1 &+ (try reader.zigzag())
        let (last, overflows) = first.addingReportingOverflow(count)
        guard count > 0, first > 0, !overflows, last < 1 << 62 else {
            throw RuntimeError(.corrupt, "a batch has no operations, or numbers that cannot be")
        }
        if number & 1 == 1 { tables.authors[place] = try reader.raw(BatchSeal.authorBytes) }
        guard let author = tables.authors[place] else {
            throw RuntimeError(.corrupt, "a batch came without its author's key")
        }
        let signature = try reader.raw(BatchSeal.signatureBytes)
        var operations: [Operation] = []
        for sequence in first..<last {
            operations.append(
                try operation(&reader, Dot(origin: origin, sequence: sequence), &dependencies))
        }
        tables.sequences[place] = last - 1
        return OperationBatch(
            operations: operations,
            seal: BatchSeal(origin: origin, sequence: last - 1, author: author, signature: signature))
    }

    private mutating func operation(
        _ reader: inout ByteReader, _ dot: Dot, _ dependencies: inout Int
    ) throws(RuntimeError) -> Operation {
        let bits = try reader.byte()
        let short = bits & OperationBits.kind
        let kind = Operation.Kind(rawValue: short == OperationBits.kind ? try reader.byte() : short)
        var flags = bits & OperationBits.erased != 0 ? Operation.Flags.erased : []
        if bits & OperationBits.flags != 0 { flags = Operation.Flags(rawValue: try reader.byte()) }
        let milliseconds = tables.milliseconds &+ (try reader.zigzag())
        guard milliseconds < 1 << 48 else { throw RuntimeError(.corrupt, "a timestamp is longer than 48 bits") }
        tables.milliseconds = milliseconds
        var counter: UInt64 = 0
        if bits & OperationBits.counter != 0 { counter = try reader.varint() }
        guard let counter = UInt16(exactly: counter) else {
            throw RuntimeError(.corrupt, "a timestamp's counter is longer than 16 bits")
        }
        let stream = try stream(&reader)
        let count = try reader.varint()
        guard count <= UInt64(Limits.operationDependencies) else {
            throw RuntimeError(.corrupt, "an operation names \(count) dependencies")
        }
        dependencies += Int(count)
        guard dependencies <= Self.dependencies else {
            throw RuntimeError(.corrupt, "a message names more than \(Self.dependencies) dependencies")
        }
        var named: [Dot] = []
        for _ in 0..<count {
            let (place, origin) = try origin(&reader)
            let near = origin == dot.origin ? dot.sequence : tables.sequences[place] ?? 0
            let sequence = near &+ (try reader.zigzag())
            guard sequence > 0 else { throw RuntimeError(.corrupt, "sequence 0 does not exist; they begin at 1") }
            named.append(Dot(origin: origin, sequence: sequence))
        }
        let beginning = bits & OperationBits.usualBody != 0 ? OperationBits.usualBeginning(of: kind) : []
        let body = beginning + (try reader.lengthPrefixed(atMost: Limits.operationBodyBytes))
        return Operation(
            dot: dot, kind: kind, flags: flags,
            timestamp: HybridTimestamp(milliseconds: milliseconds, counter: counter), stream: stream,
            dependencies: named, body: body)
    }

    private mutating func stream(_ reader: inout ByteReader) throws(RuntimeError) -> StreamID {
        let number = try reader.varint()
        if number > 0 {
            guard let stream = tables.streams.value(at: Int(clamping: number - 1)) else {
                throw RuntimeError(.corrupt, "a conversation is named that was not introduced")
            }
            return stream
        }
        let stream = StreamID(try reader.bytes16())
        guard tables.streams.place(of: stream) == nil else {
            throw RuntimeError(.corrupt, "a conversation is introduced twice")
        }
        _ = tables.streams.add(stream)
        return stream
    }
}

extension ByteWriter {
    /// A difference of two numbers, short where it is small in either direction.
    fileprivate mutating func put(zigzag difference: UInt64) {
        let signed = Int64(bitPattern: difference)
        put(varint: UInt64(bitPattern: signed << 1 ^ signed >> 63))
    }
}

extension ByteReader {
    fileprivate mutating func zigzag() throws(RuntimeError) -> UInt64 {
        let value = try varint()
        return value >> 1 ^ (0 &- (value & 1))
    }
}
