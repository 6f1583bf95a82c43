import Glibc

/// Runs one of the system's listing programs and takes what it prints.
enum SystemProgram {
    enum Failure: Error, Hashable {
        case notInstalled
        case timedOut
        case failed(status: Int32, message: String)
    }

    private static let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
    private static let largest = 4 * 1024 * 1024

    /// Blocks for at most `patience`.
    static func output(_ name: String, _ arguments: [String], patience: Duration) -> Result<String, Failure> {
        guard
            let path = folders.map({ folder in "\(folder)/\(name)" }).first(where: { (path: String) in
                access(path, X_OK) == 0
            })
        else {
            return .failure(.notInstalled)
        }
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return .failure(.failed(status: -1, message: "no pipe")) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { $0.withCString(strdup) } + [nil]
        defer { for word in words { free(word) } }
        var environment: [UnsafeMutablePointer<CChar>?] = ["LC_ALL=C".withCString(strdup), nil]
        defer { for entry in environment { free(entry) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, path, &actions, nil, &words, &environment)
        close(ends[1])
        guard code == 0 else { return .failure(.failed(status: code, message: String(cString: strerror(code)))) }
        let text = read(ends[0], until: ContinuousClock.now + patience)
        if text == nil { kill(pid, SIGKILL) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard let text else { return .failure(.timedOut) }
        return status == 0 ? .success(text) : .failure(.failed(status: status, message: text))
    }

    /// Nil when the other end was not closed in time.
    private static func read(_ descriptor: Int32, until deadline: ContinuousClock.Instant) -> String? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while bytes.count < largest {
            var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let left = Int32(clamping: (deadline - .now).wholeMilliseconds)
            guard left > 0 else { return nil }
            guard poll(&polled, 1, left) > 0 else { continue }
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += buffer.prefix(count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
