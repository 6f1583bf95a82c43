import Core

/// The sealed content of an operation's row: what the row's own columns do not say.
///
///     flags u8 | timestamp u64 | count varint, prefix hashes u64… | count varint, dependencies… | body
///
/// A dependency is `0, distance varint` for an earlier operation of the same origin, else `origin's index varint,
/// sequence varint`: the usual one costs two bytes. The prefix hashes are those under which the operation is found:
/// their table is a plain index, this is what proves it.
struct OperationRow {
    var operation: Operation
    var prefixes: [UInt64]

    func encoded(index: (Origin) throws(RuntimeError) -> Int64) throws(RuntimeError) -> [UInt8] {
        var writer = ByteWriter()
        writer.reserve(32 + operation.body.count)
        writer.put(operation.flags.rawValue)
        writer.put(bigEndian: operation.timestamp.rawValue)
        writer.put(varint: UInt64(prefixes.count))
        for prefix in prefixes { writer.put(bigEndian: prefix) }
        writer.put(varint: UInt64(operation.dependencies.count))
        for dependency in operation.dependencies {
            if dependency.origin == operation.dot.origin, dependency.sequence < operation.dot.sequence {
                writer.put(varint: 0)
                writer.put(varint: operation.dot.sequence - dependency.sequence)
            } else {
                writer.put(varint: UInt64(clamping: try index(dependency.origin)))
                writer.put(varint: dependency.sequence)
            }
        }
        writer.put(raw: operation.body)
        return writer.bytes
    }

    init(operation: Operation, prefixes: [UInt64]) {
        self.operation = operation
        self.prefixes = prefixes
    }

    /// - Parameter origin: the origin of an index.
    init(
        _ content: [UInt8], dot: Dot, kind: Operation.Kind, stream: StreamID,
        origin: (Int64) throws(RuntimeError) -> Origin
    ) throws(RuntimeError) {
        var reader = ByteReader(content)
        let flags = Operation.Flags(rawValue: try reader.byte())
        let timestamp = HybridTimestamp(rawValue: try reader.bigEndian64())
        prefixes = []
        for _ in 0..<(try reader.count()) { prefixes.append(try reader.bigEndian64()) }
        var dependencies: [Dot] = []
        for _ in 0..<(try reader.count()) {
            let index = try reader.varint()
            let value = try reader.varint()
            if index == 0 {
                guard value > 0, value < dot.sequence else {
                    throw RuntimeError(.corrupt, "an operation names a dependency that cannot be")
                }
                dependencies.append(Dot(origin: dot.origin, sequence: dot.sequence - value))
            } else {
                dependencies.append(Dot(origin: try origin(Int64(clamping: index)), sequence: value))
            }
        }
        operation = Operation(
            dot: dot, kind: kind, flags: flags, timestamp: timestamp, stream: stream, dependencies: dependencies,
            body: reader.rest())
    }
}

extension ByteReader {
    /// A count of things of at least one byte each; nothing is reserved on its word.
    fileprivate mutating func count() throws(RuntimeError) -> UInt64 {
        let count = try varint()
        guard count <= UInt64(Limits.operationDependencies) else {
            throw RuntimeError(.corrupt, "a record counts \(count) items, more than there can be")
        }
        return count
    }
}
