import Core
import Glibc

/// The bytes of a model: mapped from a file, copied, or part of the program. Never written, never moved.
///
/// `@unchecked Sendable`: `bytes` is set once in `init`, points at memory that nothing writes (the mapping and the copy
/// are private to this object, embedded bytes are read-only data), and that is released in `deinit` only.
final class GGUFStorage: @unchecked Sendable {
    let bytes: UnsafeRawBufferPointer
    private let release: (@Sendable (UnsafeRawBufferPointer) -> Void)?

    init(static bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        release = nil
    }

    init(copying source: [UInt8]) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: source.count, alignment: 64)
        copy.copyBytes(from: source)
        bytes = UnsafeRawBufferPointer(copy)
        release = { $0.deallocate() }
    }

    /// Maps a whole regular file, read-only.
    init(mapping path: String) throws(RuntimeError) {
        // O_NONBLOCK: opening a pipe that nobody writes returns at once, and is then refused as no regular file.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard file >= 0 else { throw Self.refused(errno) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Self.refused(errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw RuntimeError(
                .configuration, "the model is not a regular file: name a GGUF file, not a folder, device or pipe")
        }
        let size = Int(status.st_size)
        guard size >= GGUFParser.smallestFile else {
            throw RuntimeError(
                .corrupt, "the model file has \(size) bytes, too few for a GGUF header: fetch the file again")
        }
        guard let address = mmap(nil, size, PROT_READ, MAP_PRIVATE, file, 0), address != MAP_FAILED else {
            throw Self.refused(errno)
        }
        bytes = UnsafeRawBufferPointer(start: address, count: size)
        release = { munmap(UnsafeMutableRawPointer(mutating: $0.baseAddress), $0.count) }
    }

    deinit { release?(bytes) }

    private static func refused(_ number: Int32) -> RuntimeError {
        let reason = String(cString: strerror(number))
        switch number {
        case ENOENT, ENOTDIR:
            return RuntimeError(.configuration, "there is no such model file: correct the path in the configuration")
        case EACCES, EPERM:
            return RuntimeError(
                .configuration, "the model file may not be read (\(reason)): allow this user to read it")
        default: return RuntimeError(.system, "the model file cannot be opened: \(reason)")
        }
    }
}
