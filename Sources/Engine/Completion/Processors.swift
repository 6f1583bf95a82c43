import Core
import Glibc
import SystemPackage

/// How many threads a program should compute with.
enum Processors {
    /// Below this size the threads would wait for each other longer than they work (engines.md §5.5).
    private static let smallWeightBytes = 50_000_000

    static func threads(forWeightBytes bytes: Int) -> Int {
        bytes < smallWeightBytes ? 1 : max(1, physicalCores - 1)
    }

    /// Cores, not their hardware threads; all processors where the kernel does not tell.
    static var physicalCores: Int {
        let online = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        guard let text = try? read("/proc/cpuinfo") else { return online }
        return min(online, cores(in: text) ?? online)
    }

    /// Different pairs of `physical id` and `core id`.
    static func cores(in text: String) -> Int? {
        var package: Substring = ""
        var cores: Set<String> = []
        for line in text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1).map { $0.drop(while: \.isWhitespace) }
            guard parts.count == 2 else { continue }
            if parts[0].hasPrefix("physical id") { package = parts[1] }
            if parts[0].hasPrefix("core id") { cores.insert("\(package)/\(parts[1])") }
        }
        return cores.isEmpty ? nil : cores.count
    }

    private static func read(_ path: FilePath) throws -> String {
        let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
        defer { try? file.close() }
        var bytes: [UInt8] = []
        while bytes.count < 1 << 20 {
            let part = try [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
                count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
            if part.isEmpty { break }
            bytes += part
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
