import Core
import Cryptography
import Glibc

@testable import Store

/// A folder of one test's own, removed with it.
final class Sandbox: Sendable {
    let folder: String

    init(in parent: String = "/tmp") {
        var template = Array("\(parent)/igris-store-XXXXXX".utf8CString)
        folder = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
    }

    deinit { Self.remove(folder) }

    var path: String { folder + "/contexts.db" }

    /// The names in the folder, in order.
    var names: [String] { Self.names(folder) }

    /// Content by name.
    var contents: [String: [UInt8]] {
        Dictionary(uniqueKeysWithValues: names.map { ($0, Self.read(folder + "/" + $0)) })
    }

    /// The database and its log as a crash at this moment would leave them, in a folder of their own.
    func crashed() -> Sandbox {
        let copy = Sandbox()
        for suffix in ["", "-wal"] where names.contains("contexts.db" + suffix) {
            Self.write(Self.read(path + suffix), to: copy.path + suffix)
        }
        return copy
    }

    static func names(_ folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func read(_ path: String) -> [UInt8] {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return [] }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        bytes.removeLast(bytes.count - max(0, count))
        return bytes
    }

    static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o600) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        fchmod(descriptor, mode)
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    private static func remove(_ path: String) {
        for name in names(path) {
            let inner = path + "/" + name
            if unlink(inner) != 0 { remove(inner) }
        }
        rmdir(path)
    }
}

/// Seeded randomness (SplitMix64), so that a failure can be had again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}

/// Fixed names and keys of these tests.
enum Fixture {
    static let node = NodeID(Bytes16(high: 1, low: 2))
    static let peer = NodeID(Bytes16(high: 3, low: 4))
    static let key = StoreKey.custom(SymmetricKey([UInt8](repeating: 7, count: 32)))
    static let otherKey = StoreKey.custom(SymmetricKey([UInt8](repeating: 8, count: 32)))
    /// The log is never emptied behind a test's back.
    static let environment = StoreEnvironment(
        seconds: 1_800_000_000, idle: .seconds(100_000))

    static func stream(_ number: UInt64) -> StreamID { StreamID(Bytes16(high: 77, low: number)) }

    static func owner(_ number: Int) -> Owner { Owner(name: "owner-\(number)") }
}

extension SQLiteContextStore {
    /// Opens the sandbox's store with the names and keys of ``Fixture``.
    static func opened(
        _ sandbox: Sandbox, key: StoreKey = Fixture.key, node: NodeID = Fixture.node, hostname: String = "host",
        environment: StoreEnvironment = Fixture.environment
    ) async throws -> SQLiteContextStore {
        try await open(.file(sandbox.path), key: key, node: node, hostname: hostname, environment: environment)
    }
}
