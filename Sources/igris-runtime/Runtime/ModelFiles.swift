import BuiltinModel
import Core
import Cryptography
import GGUF
import Logging
import NIOPosix
import Node
import ServiceLifecycle
import Settings
import Store
import Synchronization

/// One model's file: what is known of it by now.
final class WatchedModelFile: Sendable {
    private enum Source {
        case embedded
        case file(String)
    }

    private struct State {
        var known: ModelFile?
        /// The file as it was when its digest was made.
        var identity: FileIdentity?
        /// A peer may have it: all of the model is in this one file.
        var isWhole = false
    }

    private let source: Source
    private let state = Mutex(State())
    private let isStopped = Atomic(false)

    /// Nil for an engine that has no file we could read.
    convenience init?(_ model: Settings.Model) {
        if let path = model.path {
            self.init(path: path)
        } else if model.engine == .builtin {
            self.init(source: .embedded)
        } else {
            return nil
        }
    }

    convenience init(path: String) { self.init(source: .file(path)) }

    private init(source: Source) { self.source = source }

    var file: ModelFile? { state.withLock { $0.known } }

    /// Where the file with this digest lies; nil for another one, and for one that a peer cannot use.
    func offered(_ digest: String) -> (path: String, identity: FileIdentity)? {
        guard case .file(let path) = source else { return nil }
        return state.withLock { state in
            guard state.isWhole, state.known?.digest == digest, let identity = state.identity else { return nil }
            return (path, identity)
        }
    }

    /// Ends ``read(_:)`` early.
    func stop() { isStopped.store(true, ordering: .relaxed) }

    /// The header first; then the digest, which takes as long as reading the whole file unless it is remembered. Blocks
    /// meanwhile.
    func read(_ folder: ModelFolder?) throws(RuntimeError) {
        switch source {
        case .embedded:
            let header = try EmbeddedModel.file()
            var facts = header.modelFile
            facts.digest = SHA256.hash(header.withBytes { Array($0) }).hex
            state.withLock { [facts] in $0.known = facts }
        case .file(let path):
            let header = try GGUFFile(path: path)
            let facts = header.modelFile
            state.withLock { state in
                state.known = facts
                state.isWhole = header.parts == 1
            }
            guard let identity = FileIdentity(path: path) else { return }
            let stops = { self.isStopped.load(ordering: .relaxed) }
            let digest =
                if let folder { try folder.digest(of: path, isStopped: stops) } else {
                    try FileDigest.sha256(of: path, isStopped: stops)
                }
            guard let digest, FileIdentity(path: path) == identity else { return }
            state.withLock { state in
                state.known?.digest = digest
                state.identity = identity
            }
        }
    }
}

extension GGUFFile {
    /// Of how many files the model is made (llama-gguf-split).
    var parts: Int { max(1, integer("split.count") ?? 1) }
}

/// The models' files, by the models' names. They are looked at in the background, one after another.
final class ModelFiles: Service, Sendable {
    /// Where digests are remembered; nil where there is no such folder.
    private let folder: ModelFolder?
    private let log: Logger
    private let files = Mutex<[String: WatchedModelFile]>([:])
    private let (unread, queue) = AsyncStream.makeStream(of: (name: String, file: WatchedModelFile).self)

    init(folder: ModelFolder?, log: Logger) {
        self.folder = folder
        self.log = log
    }

    func add(_ file: WatchedModelFile, of name: String) {
        files.withLock { $0[name] = file }
        queue.yield((name, file))
    }

    func remove(_ name: String) { files.withLock { $0.removeValue(forKey: name) }?.stop() }

    func offered(_ digest: String) -> (path: String, identity: FileIdentity)? {
        for file in files.withLock({ Array($0.values) }) {
            if let offered = file.offered(digest) { return offered }
        }
        return nil
    }

    func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            for await (name, file) in unread { await read(file, of: name) }
        }
    }

    private func read(_ file: WatchedModelFile, of name: String) async {
        await withTaskCancellationHandler {
            do {
                try await NIOThreadPool.singleton.runIfActive { [folder] in
                    try file.read(folder)
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
