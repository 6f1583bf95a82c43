import Glibc

/// Tells systemd how the daemon fares (sd_notify(3)): one datagram a word, to the socket that `NOTIFY_SOCKET` names.
struct ServiceManager: Sendable {
    /// A path, or a zero and a name of Linux's own.
    private let socketName: [UInt8]
    /// How long it waits for a sign of life; nil where it does not.
    let patience: Duration?

    /// Nil where nobody wants to be told.
    init?(environment: [String: String], process: Int32 = getpid()) {
        guard let name = environment["NOTIFY_SOCKET"], name.hasPrefix("/") || name.hasPrefix("@"),
            (2..<MemoryLayout.size(ofValue: sockaddr_un().sun_path)).contains(name.utf8.count)
        else { return nil }
        socketName = name.hasPrefix("@") ? [0] + name.utf8.dropFirst() : Array(name.utf8)
        // Meant for another process where it names one.
        let isOurs = environment["WATCHDOG_PID"].map { $0 == "\(process)" } ?? true
        let microseconds = environment["WATCHDOG_USEC"].flatMap { Int64($0) } ?? 0
        patience = isOurs && microseconds > 0 ? .microseconds(microseconds) : nil
    }

    /// The port is open and requests are answered.
    func tellReady(_ status: String) { tell("READY=1\nSTATUS=\(status)") }

    func tellStopping() { tell("STOPPING=1") }

    /// Gives signs of life, each once `isAlive` has returned, until the task is cancelled. Nothing is said by a daemon
    /// that hangs: systemd then starts another.
    func keepWatch(while isAlive: @Sendable () async -> Void) async throws {
        guard let patience else { return }
        while true {
            await isAlive()
            tell("WATCHDOG=1")
            try await Task.sleep(for: patience / 3)
        }
    }

    /// Nobody waits for systemd: what it does not take at once is lost, and with it the daemon goes on.
    private func tell(_ words: String) {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socketName) }
        let length = socklen_t(MemoryLayout.offset(of: \sockaddr_un.sun_path).map { $0 + socketName.count } ?? 0)
        let bytes = Array(words.utf8)
        withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                _ = sendto(
                    descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT), address, length)
            }
        }
    }
}
