import Core
import Glibc

/// What lies beside a host's signing key and must agree with its store: a store that was put back from a copy, or made
/// anew, does not know which numbers its host has given out since (swarm.md §1).
///
///     version u8 | store 16 | epoch u32 | runs u64 | file u64
struct EpochMark: Hashable, Sendable {
    static let fileName = "node.epoch"
    private static let version: UInt8 = 1

    var store: Bytes16
    /// The last one that this host wrote in.
    var epoch: UInt32
    /// How often the store was opened for writing: tells an older copy of it.
    var runs: UInt64
    /// The file's number on its disk: tells another copy of it.
    var file: UInt64

    /// Nil where there is none. One that cannot be read agrees with no store.
    static func load(directory: String) throws(RuntimeError) -> EpochMark? {
        guard let bytes = try PrivateFile.read(directory: directory, name: fileName, atMost: 64) else { return nil }
        do {
            var reader = ByteReader(bytes)
            _ = try reader.byte()
            return EpochMark(
                store: try reader.bytes16(), epoch: try reader.bigEndian32(), runs: try reader.bigEndian64(),
                file: try reader.bigEndian64())
        } catch {
            return EpochMark(store: Bytes16(high: 0, low: 0), epoch: 0, runs: 0, file: 0)
        }
    }

    func save(directory: String) throws(RuntimeError) {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(store)
        writer.put(bigEndian: epoch)
        writer.put(bigEndian: runs)
        writer.put(bigEndian: file)
        try Folder.create(directory)
        try PrivateFile.replace(directory: directory, name: Self.fileName, with: writer.bytes)
    }

    static func number(ofFile path: String) -> UInt64 {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_ino) : 0
    }
}
