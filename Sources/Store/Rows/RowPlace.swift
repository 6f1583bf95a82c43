import Core

/// Where a sealed record stands. All of it is authenticated, so that no record opens in another row, table or store.
enum RowPlace {
    /// The format of the sealed records; a change of it is a migration of all of them.
    static let format: UInt8 = 1

    case operation(Dot, Operation.Kind, StreamID)
    case stream(Int64)
    case origin(Int64, Origin)
    case state
    case seal(Dot)

    func associatedData(in store: Bytes16) -> [UInt8] {
        var writer = ByteWriter()
        writer.reserve(64)
        writer.put(Self.format)
        writer.put(store)
        switch self {
        case .operation(let dot, let kind, let stream):
            writer.put(1)
            Self.put(dot, into: &writer)
            writer.put(kind.rawValue)
            writer.put(stream.bytes)
        case .stream(let index):
            writer.put(2)
            writer.put(bigEndian: index)
        case .origin(let index, let origin):
            writer.put(3)
            writer.put(bigEndian: index)
            writer.put(origin.node.bytes)
            writer.put(bigEndian: origin.epoch)
        case .state:
            writer.put(4)
        case .seal(let dot):
            writer.put(5)
            Self.put(dot, into: &writer)
        }
        return writer.bytes
    }

    private static func put(_ dot: Dot, into writer: inout ByteWriter) {
        writer.put(dot.origin.node.bytes)
        writer.put(bigEndian: dot.origin.epoch)
        writer.put(bigEndian: dot.sequence)
    }
}
