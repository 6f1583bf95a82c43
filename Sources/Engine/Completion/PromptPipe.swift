import Core
import Glibc
import SystemPackage

/// A prompt on its way to a program that can only read a file: a FIFO in a folder that is ours alone. The text goes
/// from memory to memory; it is in no argument list and on no disk.
struct PromptPipe: Sendable {
    private let folder: FilePath
    private var fifo: FilePath { folder.appending("prompt") }

    var path: String { fifo.string }

    /// How often an end that is not there yet is looked for: a program takes 10 ms and more to come to its prompt.
    private static let interval = Duration.milliseconds(2)
    /// What the kernel lets any user ask for; most prompts then go through in one write.
    private static let largestPipe = 1 << 20

    /// - Throws: ``RuntimeError`` `.system` when the temporary folder cannot be written to.
    init() throws(RuntimeError) {
        let names: [String] = ["XDG_RUNTIME_DIR", "TMPDIR"]
        let folders: [String] = names.compactMap { name in getenv(name).map { String(cString: $0) } }
        let parent = folders.first { $0.hasPrefix("/") && access($0, W_OK | X_OK) == 0 } ?? "/tmp"
        var template = Array("\(parent)/igris-prompt-XXXXXX".utf8CString)
        // mkdtemp makes the folder with mode 0700.
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        guard let made else {
            throw RuntimeError(
                .system, "no temporary folder could be made for the engine's prompt", cause: Errno(rawValue: errno))
        }
        folder = FilePath(made)
        guard mkfifo(path, 0o600) == 0 else {
            let cause = Errno(rawValue: errno)
            remove()
            throw RuntimeError(.system, "no pipe could be made for the engine's prompt", cause: cause)
        }
    }

    /// Waits for the program to open the pipe, then writes all of `bytes` and closes it. Ends early when the task is
    /// cancelled or the program stops reading: its output and exit status tell why.
    func feed(_ bytes: [UInt8]) async {
        do {
            let descriptor = try await open()
            defer { try? descriptor.close() }
            // Both ends are open: should we be killed from now on, nothing is left behind.
            remove()
            if bytes.count > 65_536 {
                // F_SETPIPE_SZ; refused where the user's pipes hold too much already, and then it goes in parts.
                _ = fcntl(descriptor.rawValue, 1031, Int32(min(bytes.count, Self.largestPipe)))
            }
            var rest = bytes[...]
            while !rest.isEmpty {
                do {
                    rest = rest.dropFirst(try rest.withUnsafeBytes { try descriptor.write($0) })
                } catch Errno.wouldBlock {
                    try await Task.sleep(for: Self.interval)
                }
            }
        } catch {
            // See above.
        }
    }

    private func open() async throws -> FileDescriptor {
        while true {
            do {
                return try FileDescriptor.open(fifo, .writeOnly, options: [.nonBlocking, .closeOnExec])
            } catch Errno.noSuchAddressOrDevice {
                // Nobody reads yet.
                try await Task.sleep(for: Self.interval)
            }
        }
    }

    /// Removes the pipe's name; may be called again.
    func remove() {
        unlink(path)
        rmdir(folder.string)
    }
}
