/// The canonical bytes of an operation: what the chain hash covers, and what travels where nothing is interned.
///
///     version u8 | kind u8 | flags u8 | origin 16+u32 | sequence varint | timestamp u64 | stream 16
///     | count varint, dependencies (origin 16+u32, sequence varint)… | length varint, body
///
/// Fixed-width numbers are big-endian; a varint is LEB128. Decoding refuses anything that would not encode back to
/// the same bytes.
package enum OperationCodec {
    package static let version: UInt8 = 1

    package static func encode(_ operation: Operation) -> [UInt8] {
        var writer = ByteWriter()
        writer.reserve(96 + operation.body.count)
        writer.put(version)
        writer.put(operation.kind.rawValue)
        writer.put(operation.flags.rawValue)
        writer.put(operation.dot)
        writer.put(bigEndian: operation.timestamp.rawValue)
        writer.put(operation.stream.bytes)
        writer.put(varint: UInt64(operation.dependencies.count))
        for dependency in operation.dependencies { writer.put(dependency) }
        writer.put(lengthPrefixed: operation.body)
        return writer.bytes
    }

    /// Throws ``RuntimeError`` with code `.corrupt` on anything but exactly one well-formed operation.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> Operation {
        var reader = ByteReader(bytes)
        let version = try reader.byte()
        guard version == Self.version else {
            throw RuntimeError(.corrupt, "operation format \(version) is not known; this host knows \(Self.version)")
        }
        let kind = Operation.Kind(rawValue: try reader.byte())
        let flags = Operation.Flags(rawValue: try reader.byte())
        let dot = try reader.dot()
        let timestamp = HybridTimestamp(rawValue: try reader.bigEndian64())
        let stream = StreamID(try reader.bytes16())
        let count = try reader.varint()
        guard count <= UInt64(Limits.operationDependencies) else {
            throw RuntimeError(
                .corrupt, "an operation names \(count) dependencies; at most \(Limits.operationDependencies)")
        }
        var dependencies: [Dot] = []
        for _ in 0..<count { dependencies.append(try reader.dot()) }
        let body = try reader.lengthPrefixed(atMost: Limits.operationBodyBytes)
        try reader.expectEnd()
        return Operation(
            dot: dot, kind: kind, flags: flags, timestamp: timestamp, stream: stream, dependencies: dependencies,
            body: body)
    }
}

extension ByteWriter {
    package mutating func put(_ dot: Dot) {
        put(dot.origin.node.bytes)
        put(bigEndian: dot.origin.epoch)
        put(varint: dot.sequence)
    }
}

extension ByteReader {
    package mutating func dot() throws(RuntimeError) -> Dot {
        let node = NodeID(try bytes16())
        let epoch = try bigEndian32()
        let sequence = try varint()
        guard sequence > 0 else { throw RuntimeError(.corrupt, "sequence 0 does not exist; they begin at 1") }
        return Dot(origin: Origin(node: node, epoch: epoch), sequence: sequence)
    }
}
