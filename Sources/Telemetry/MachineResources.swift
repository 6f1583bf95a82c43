import Glibc

/// What this machine has left, in bytes; nil where the system does not tell.
package struct MachineResources: Sendable {
    package var diskFree: UInt64?
    package var diskSize: UInt64?
    package var memoryFree: UInt64?
    package var memorySize: UInt64?

    /// - Parameter path: something on the disk that is meant; nil where none is.
    package static func current(diskOf path: String?) -> MachineResources {
        var resources = MachineResources()
        var disk = statvfs()
        if let path, statvfs(path, &disk) == 0 {
            // What this user may fill; the rest is kept for root.
            resources.diskFree = product(disk.f_bavail, disk.f_frsize)
            resources.diskSize = product(disk.f_blocks, disk.f_frsize)
        }
        guard let text = ProcessMetrics.text(of: "/proc/meminfo") else { return resources }
        resources.memoryFree = kibibytes("MemAvailable", text)
        resources.memorySize = kibibytes("MemTotal", text)
        return resources
    }

    /// `MemTotal:       16384256 kB`
    static func kibibytes(_ name: String, _ text: String) -> UInt64? {
        let line = text.split(separator: "\n").first { $0.hasPrefix("\(name):") }
        let count = line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }
        return count.flatMap { product($0, 1_024) }
    }

    private static func product(_ count: some BinaryInteger, _ size: some BinaryInteger) -> UInt64? {
        let (bytes, overflow) = UInt64(clamping: count).multipliedReportingOverflow(by: UInt64(clamping: size))
        return overflow ? nil : bytes
    }
}
