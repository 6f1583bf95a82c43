import Glibc
import NIOPosix

/// What a child and everything it has started take of the memory.
///
/// A child leads a session of its own (``withChild(_:stderr:grace:body:)``), so that all of its tree is found by that
/// number, orphans too. Each process counts with its proportional share (PSS): pages of a model file that two processes
/// map are not counted twice.
enum ProcessTree {
    /// Bytes; nil where no such process is left. Reads `/proc` elsewhere than on the cooperative pool.
    static func memory(ofSession leader: Int32) async -> Int? {
        // The pool ends with the process only.
        try? await NIOThreadPool.singleton.runIfActive { read(leader) }
    }

    private static func read(_ leader: Int32) -> Int? {
        guard let folder = opendir("/proc") else { return nil }
        defer { closedir(folder) }
        var sum: Int?
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let process = Int32(name), session(of: process) == leader else { continue }
            sum = (sum ?? 0) + (share(of: process) ?? 0)
        }
        return sum
    }

    /// The value of `Name:   123 kB` in bytes.
    static func bytes(of name: String, in text: String) -> Int? {
        let line = text.split(separator: "\n").first { $0.hasPrefix("\(name):") }
        return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }.flatMap { count in
            let (bytes, overflows) = count.multipliedReportingOverflow(by: 1_024)
            return overflows ? nil : bytes
        }
    }

    private static func session(of process: Int32) -> Int32? {
        text(of: "/proc/\(process)/stat").flatMap(ProcessStatus.init)?.session
    }

    /// Without the right to see the shares: what is resident.
    private static func share(of process: Int32) -> Int? {
        text(of: "/proc/\(process)/smaps_rollup").flatMap { bytes(of: "Pss", in: $0) }
            ?? text(of: "/proc/\(process)/status").flatMap { bytes(of: "VmRSS", in: $0) }
    }

    /// At most 16 KiB: these files are short.
    private static func text(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 16 * 1024)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress?.advanced(by: count), $0.count - count)
            }
            if read < 0, errno == EINTR { continue }
            guard read > 0 else { break }
            count += read
        }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}
