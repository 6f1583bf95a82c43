import Core
import Glibc

/// What lies beside a host's signing key and must agree with its store: a store that was put back from a copy, or made
/// anew, does not know which numbers its host has given out since (swarm.md §1).
///
/// A second one is kept in memory (`/dev/shm`, or the user's runtime folder). The first one comes back with the store
/// where a whole disk is put back; the second one does not, whether the machine went on meanwhile or was switched off.
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
        return decoded(bytes) ?? EpochMark(store: Bytes16(high: 0, low: 0), epoch: 0, runs: 0, file: 0)
    }

    func save(directory: String) throws(RuntimeError) {
        try Folder.create(directory)
        failpoint("epochmark.save.before")
        try PrivateFile.replace(directory: directory, name: Self.fileName, with: encoded)
        failpoint("epochmark.save.after")
    }

    private var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(store)
        writer.put(bigEndian: epoch)
        writer.put(bigEndian: runs)
        writer.put(bigEndian: file)
        return writer.bytes
    }

    private static func decoded(_ bytes: [UInt8]) -> EpochMark? {
        do {
            var reader = ByteReader(bytes)
            _ = try reader.byte()
            return EpochMark(
                store: try reader.bytes16(), epoch: try reader.bigEndian32(), runs: try reader.bigEndian64(),
                file: try reader.bigEndian64())
        } catch {
            return nil
        }
    }

    // MARK: - In memory

    /// Nil where there is none, or none of this user's.
    static func volatile(folder: String?, store: Bytes16) -> EpochMark? {
        // What cannot be read proves nothing: a new epoch costs little.
        guard let folder, Folder.isOwn(folder),
            let bytes = try? PrivateFile.read(
                directory: folder, name: volatileName(store), atMost: 64)
        else { return nil }
        return decoded(bytes)
    }

    /// Where this fails the next start begins a new epoch.
    func saveVolatile(folder: String?) {
        guard let folder else { return }
        try? Folder.create(folder)
        guard Folder.isOwn(folder) else { return }
        try? PrivateFile.replace(directory: folder, name: Self.volatileName(store), with: encoded)
    }

    private static func volatileName(_ store: Bytes16) -> String { "\(store).epoch" }

    static func number(ofFile path: String) -> UInt64 {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_ino) : 0
    }
}
