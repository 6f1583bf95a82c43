import Glibc
import Settings
import Telemetry

/// How much memory the models that are loaded on demand may take together.
enum MemoryBudget {
    /// What is set, else three quarters of what the machine, or the daemon's control group, has. A machine that does
    /// not tell has no bound.
    static func bytes(_ settings: Settings) -> Int {
        if let bytes = settings.node.modelsMemory { return bytes }
        return available() / 4 * 3
    }

    /// What the daemon itself may take before it refuses new work.
    static func ownBytes(_ settings: Settings) -> UInt64 {
        UInt64(clamping: settings.node.memoryLimit ?? available() / 10 * 7)
    }

    private static func available() -> Int {
        let machine = MachineResources.current(diskOf: nil).memorySize.map { Int(clamping: $0) } ?? .max
        return min(machine, groupLimit() ?? .max)
    }

    /// `memory.max` of the control group (version 2) that this process is in, or of one above it.
    private static func groupLimit() -> Int? {
        guard let line = text(of: "/proc/self/cgroup")?.split(separator: "\n").first(where: { $0.hasPrefix("0::") })
        else { return nil }
        var path = line.dropFirst("0::".count)
        var least: Int?
        while true {
            let file = "/sys/fs/cgroup\(path == "/" ? "" : path)/memory.max"
            if let limit = text(of: file)?.split(separator: "\n").first.flatMap({ Int($0) }) {
                least = min(least ?? .max, limit)
            }
            guard let slash = path.lastIndex(of: "/"), path.count > 1 else { return least }
            path = slash == path.startIndex ? "/" : path[..<slash]
        }
    }

    private static func text(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = read(descriptor, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}
