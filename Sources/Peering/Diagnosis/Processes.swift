import Glibc

/// The other programs of this machine, as far as this user may see them.
enum Processes {
    /// Daemons of this program, this process and its engines left out; in containers of their own they are others'.
    static func otherInstances() -> [Int32] {
        let network = TextFile.link("/proc/self/ns/net")
        return TextFile.names(in: "/proc").compactMap { name in
            guard let pid = Int32(name), pid != getpid(),
                TextFile.read("/proc/\(pid)/comm")?.hasPrefix("igris-runtime") == true,
                let line = TextFile.read("/proc/\(pid)/cmdline"),
                TextFile.link("/proc/\(pid)/ns/net") ?? network == network
            else { return nil }
            // Verbs are short-lived clients, and engines are somebody's children; a daemon is started with flags.
            let words = line.split(separator: "\0").dropFirst()
            return words.first.map { $0.hasPrefix("-") || $0 == "serve" } ?? true ? pid : nil
        }
    }

    static func isUDPPortOpen(_ port: Int) -> Bool { !inodes(ofUDPPort: port).isEmpty }

    /// The names of the programs with a UDP socket at `port`; none where this user may not look.
    static func holders(ofUDPPort port: Int) -> [String] {
        let wanted = Set(inodes(ofUDPPort: port).map { "socket:[\($0)]" })
        guard !wanted.isEmpty else { return [] }
        var names: Set<String> = []
        for process in TextFile.names(in: "/proc") where Int32(process) != nil {
            let folder = "/proc/\(process)/fd"
            for descriptor in TextFile.names(in: folder) {
                guard let link = TextFile.link("\(folder)/\(descriptor)"), wanted.contains(link) else { continue }
                if let name = TextFile.read("/proc/\(process)/comm")?.split(separator: "\n").first {
                    names.insert(String(name))
                }
            }
        }
        return names.sorted()
    }

    private static func inodes(ofUDPPort port: Int) -> [String] {
        ["/proc/net/udp", "/proc/net/udp6"].compactMap(TextFile.read).flatMap {
            SystemTables.inodes($0, port: port)
        }
    }
}
