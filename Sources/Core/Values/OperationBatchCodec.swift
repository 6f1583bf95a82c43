/// A batch as bytes that need nothing else to be read: what snapshots are made of.
///
///     version u8 | origin 16+u32 | last sequence varint | author 32 | signature 64 | count varint | operations…
///
/// An operation, whose place follows from its position:
///
///     kind u8 | flags u8 | timestamp u64 | stream | count varint, dependencies… | length varint, body
///
/// A stream is its index in the batch's list of them (varint); the index after the last names a new one, whose 16
/// bytes follow. A dependency is `0, distance varint` for an earlier operation of the same origin, else the origin's
/// index in the batch's list plus one, a new one's 16+u32 bytes, and the sequence varint.
package enum OperationBatchCodec {
    package static let version: UInt8 = 1

    package static func encode(_ batch: OperationBatch) -> [UInt8] {
        var writer = ByteWriter()
        writer.reserve(batch.operations.reduce(160) { $0 + 48 + $1.body.count })
        writer.put(version)
        writer.put(batch.origin)
        writer.put(varint: batch.seal.sequence)
        writer.put(raw: batch.seal.author)
        writer.put(raw: batch.seal.signature)
        writer.put(varint: UInt64(batch.operations.count))
        var streams: [StreamID: UInt64] = [:]
        var origins: [Origin: UInt64] = [:]
        for operation in batch.operations {
            writer.put(operation.kind.rawValue)
            writer.put(operation.flags.rawValue)
            writer.put(bigEndian: operation.timestamp.rawValue)
            if let index = streams[operation.stream] {
                writer.put(varint: index)
            } else {
                writer.put(varint: UInt64(streams.count))
                writer.put(operation.stream.bytes)
                streams[operation.stream] = UInt64(streams.count)
            }
            writer.put(varint: UInt64(operation.dependencies.count))
            for dependency in operation.dependencies {
                if dependency.origin == batch.origin, dependency.sequence < operation.dot.sequence {
                    writer.put(varint: 0)
                    writer.put(varint: operation.dot.sequence - dependency.sequence)
                    continue
                }
                if let index = origins[dependency.origin] {
                    writer.put(varint: index)
                } else {
                    let index = UInt64(origins.count) + 1
                    writer.put(varint: index)
                    writer.put(dependency.origin)
                    origins[dependency.origin] = index
                }
                writer.put(varint: dependency.sequence)
            }
            writer.put(lengthPrefixed: operation.body)
        }
        return writer.bytes
    }

    /// Throws ``RuntimeError`` `.corrupt` on anything but exactly one well-formed batch. The seal is not checked here.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> OperationBatch {
        var reader = ByteReader(bytes)
        let version = try reader.byte()
        guard version == Self.version else {
            throw RuntimeError(.corrupt, "batch format \(version) is not known; this host knows \(Self.version)")
        }
        let origin = try reader.origin()
        let last = try reader.varint()
        let seal = BatchSeal(
            origin: origin, sequence: last, author: try reader.raw(BatchSeal.authorBytes),
            signature: try reader.raw(BatchSeal.signatureBytes))
        let count = try reader.varint()
        // An operation takes more than a byte, so a longer list than that is refused before it is begun.
        guard count > 0, count <= last, count <= UInt64(bytes.count) else {
            throw RuntimeError(.corrupt, "a batch of \(count) operations up to \(last) cannot be")
        }
        var decoder = OperationsDecoder(origin: origin)
        var operations: [Operation] = []
        var sequence = last - count
        for _ in 0..<count {
            sequence += 1
            operations.append(try decoder.operation(Dot(origin: origin, sequence: sequence), from: &reader))
        }
        try reader.expectEnd()
        return OperationBatch(operations: operations, seal: seal)
    }
}

/// The lists to which the operations of one batch refer.
private struct OperationsDecoder {
    let origin: Origin
    private var streams: [StreamID] = []
    private var origins: [Origin] = []

    init(origin: Origin) { self.origin = origin }

    mutating func operation(_ dot: Dot, from reader: inout ByteReader) throws(RuntimeError) -> Operation {
        let kind = Operation.Kind(rawValue: try reader.byte())
        let flags = Operation.Flags(rawValue: try reader.byte())
        let timestamp = HybridTimestamp(rawValue: try reader.bigEndian64())
        let stream = try stream(from: &reader)
        let count = try reader.varint()
        guard count <= UInt64(Limits.operationDependencies) else {
            throw RuntimeError(
                .corrupt, "an operation names \(count) dependencies; at most \(Limits.operationDependencies)")
        }
        var dependencies: [Dot] = []
        for _ in 0..<count { dependencies.append(try dependency(of: dot, from: &reader)) }
        return Operation(
            dot: dot, kind: kind, flags: flags, timestamp: timestamp, stream: stream, dependencies: dependencies,
            body: try reader.lengthPrefixed(atMost: Limits.operationBodyBytes))
    }

    private mutating func stream(from reader: inout ByteReader) throws(RuntimeError) -> StreamID {
        let index = Int(clamping: try reader.varint())
        if streams.indices.contains(index) { return streams[index] }
        guard index == streams.count else { throw Self.unknown }
        let stream = StreamID(try reader.bytes16())
        streams.append(stream)
        return stream
    }

    private mutating func dependency(of dot: Dot, from reader: inout ByteReader) throws(RuntimeError) -> Dot {
        let index = Int(clamping: try reader.varint())
        guard index > 0 else {
            let distance = try reader.varint()
            guard distance > 0, distance < dot.sequence else { throw Self.unknown }
            return Dot(origin: origin, sequence: dot.sequence - distance)
        }
        if index == origins.count + 1 { origins.append(try reader.origin()) }
        guard index <= origins.count else { throw Self.unknown }
        let sequence = try reader.varint()
        guard sequence > 0 else { throw Self.unknown }
        return Dot(origin: origins[index - 1], sequence: sequence)
    }

    private static let unknown = RuntimeError(
        .corrupt, "an operation of a batch refers to what the batch does not name")
}

extension ByteWriter {
    package mutating func put(_ origin: Origin) {
        put(origin.node.bytes)
        put(bigEndian: origin.epoch)
    }
}

extension ByteReader {
    package mutating func origin() throws(RuntimeError) -> Origin {
        let node = NodeID(try bytes16())
        return Origin(node: node, epoch: try bigEndian32())
    }
}
