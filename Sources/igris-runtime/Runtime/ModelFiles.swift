import BuiltinModel
import Core
import Cryptography
import GGUF
import Glibc
import Logging
import NIOPosix
import Node
import ServiceLifecycle
import Settings
import Synchronization

/// One model's file: what is known of it by now.
final class WatchedModelFile: Sendable {
    private enum Source {
        case embedded
        case file(String)
    }

    private let source: Source
    private let known = Mutex<ModelFile?>(nil)
    private let isStopped = Atomic(false)

    /// Nil for an engine that has no file we could read.
    init?(_ model: Settings.Model) {
        if let path = model.path {
            source = .file(path)
        } else if model.engine == .builtin {
            source = .embedded
        } else {
            return nil
        }
    }

    var file: ModelFile? { known.withLock { $0 } }

    /// Ends ``read()`` early.
    func stop() { isStopped.store(true, ordering: .relaxed) }

    /// The header first; then the digest, which takes as long as reading the whole file. Blocks meanwhile.
    func read() throws(RuntimeError) {
        let header: GGUFFile
        switch source {
        case .embedded: header = try EmbeddedModel.file()
        case .file(let path): header = try GGUFFile(path: path)
        }
        let facts = header.modelFile
        known.withLock { $0 = facts }
        guard let digest = try digest(of: header) else { return }
        known.withLock { $0?.digest = digest }
    }

    private func digest(of header: GGUFFile) throws(RuntimeError) -> String? {
        switch source {
        case .embedded: return SHA256.hash(header.withBytes { Array($0) }).hex
        case .file(let path): return try digest(path: path)
        }
    }

    private static let chunkBytes = 1024 * 1024

    /// Reads the file instead of the mapping: another program that shortens it in the meantime does no harm then.
    private func digest(path: String) throws(RuntimeError) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw RuntimeError(.system, "a model's file cannot be opened") }
        defer { close(descriptor) }
        var hash = SHA256()
        var buffer = [UInt8](repeating: 0, count: Self.chunkBytes)
        while !isStopped.load(ordering: .relaxed) {
            let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw RuntimeError(.system, "a model's file cannot be read") }
            guard count > 0 else { return hash.finish().hex }
            hash.update(count == buffer.count ? buffer : Array(buffer[..<count]))
        }
        return nil
    }
}

/// Looks at the models' files in the background, one after another.
struct ModelFiles: Service {
    let files: [(name: String, file: WatchedModelFile)]
    let log: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            for (name, file) in files { await read(file, of: name) }
        }
        try? await gracefulShutdown()  // throws only when cancelled, which ends this just the same
    }

    private func read(_ file: WatchedModelFile, of name: String) async {
        await withTaskCancellationHandler {
            do {
                try await NIOThreadPool.singleton.runIfActive {
                    try file.read()
                }
            } catch {
                log.notice(
                    "a model's file says nothing of itself", metadata: ["model": "\(name)", "error": "\(error)"])
            }
        } onCancel: {
            file.stop()
        }
    }
}
