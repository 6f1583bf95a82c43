import Glibc

/// What Prometheus expects to know of every process, read from /proc when asked. What cannot be read is left out.
package struct ProcessMetrics: Sendable {
    struct Sample: Sendable {
        var name: String
        var kind: PrometheusRegistry.Kind
        var help: String
        var value: Double
    }

    /// Seconds since 1970; nil where /proc does not tell.
    private let start: Double?

    init() { start = Self.startTime() }

    func samples() -> [Sample] {
        let memory = Self.memory()
        let values: [(String, PrometheusRegistry.Kind, String, Double?)] = [
            ("process_cpu_seconds_total", .counter, "User and system CPU time spent.", Self.cpuSeconds()),
            ("process_max_fds", .gauge, "Most file descriptors that may be open.", Self.maximumDescriptors()),
            ("process_open_fds", .gauge, "File descriptors that are open.", Self.openDescriptors()),
            ("process_resident_memory_bytes", .gauge, "Resident memory.", memory?.resident),
            ("process_start_time_seconds", .gauge, "Start of the process, since 1970.", start),
            ("process_virtual_memory_bytes", .gauge, "Virtual memory.", memory?.virtual),
        ]
        return values.compactMap { name, kind, help, value in
            value.map { Sample(name: name, kind: kind, help: help, value: $0) }
        }
    }

    private static func cpuSeconds() -> Double? {
        var time = timespec()
        guard clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 else { return nil }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Bytes of this process that are in memory.
    package static var resident: UInt64? { memory().map { UInt64($0.resident) } }

    private static func memory() -> (virtual: Double, resident: Double)? {
        guard let pages = text(of: "/proc/self/statm")?.split(separator: " "), pages.count > 1,
            let virtual = Double(pages[0]), let resident = Double(pages[1])
        else { return nil }
        let size = Double(sysconf(Int32(_SC_PAGESIZE)))
        return (virtual * size, resident * size)
    }

    private static func openDescriptors() -> Double? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        // Without ".", ".." and the descriptor of the folder itself.
        var count = -3
        while readdir(folder) != nil { count += 1 }
        return Double(count)
    }

    private static func maximumDescriptors() -> Double? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Double(limit.rlim_cur)
    }

    /// Field 22 of proc(5)'s stat, in ticks since boot, added to the time of the boot.
    private static func startTime() -> Double? {
        // The program's name, in parentheses, may hold spaces and parentheses itself.
        guard let stat = text(of: "/proc/self/stat"), let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[end...].dropFirst().split(separator: " ")
        guard fields.count > 19, let ticks = Double(fields[19]) else { return nil }
        guard let boot = text(of: "/proc/stat")?.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
            let seconds = boot.split(separator: " ").last.flatMap({ Double($0) })
        else { return nil }
        return seconds + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    package static func text(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 4_096)
        while bytes.count < 1_048_576 {
            let count = read(descriptor, &part, part.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += part.prefix(count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
