package import Core
import Glibc
import Synchronization

/// The folder of the model files that this host keeps itself: which of them are registered, what was copied in part,
/// and the digests of all model files that it has read, so that none is read anew at each start.
///
/// Everything but ``models`` blocks. Nothing in it is secret; the folder is this user's alone all the same.
package final class ModelFolder: Sendable {
    package struct Model: Hashable, Sendable {
        package var name: String
        /// Where it comes from: `added`, `copied`.
        package var source: String
        /// 64 hexadecimal digits.
        package var digest: String
        package var bytes: Int
        /// The file's name in the folder.
        package var file: String

        package init(name: String, source: String, digest: String, bytes: Int) {
            self.name = name
            self.source = source
            self.digest = digest
            self.bytes = bytes
            let plain = name.utf8.prefix(64).map { byte in
                let isPlain = UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20 || UInt8(ascii: "0")...0x39 ~= byte
                return isPlain ? Character(Unicode.Scalar(byte)) : "-"
            }
            file = "\(String(plain)).\(digest.prefix(16)).gguf"
        }
    }

    private struct State {
        var models: [Model] = []
        var digests: [String: String] = [:]
    }

    private static let registry = "registry.json"
    private static let digests = "digests.json"
    private static let fileBytes = 1024 * 1024
    private static let digestsKept = 1_024

    package let path: String
    private let state: Mutex<State>

    /// Makes the folder where it is missing. A registry that cannot be read throws ``RuntimeError`` `.corrupt`.
    package init(path: String) throws(RuntimeError) {
        self.path = path
        try Folder.create(path)
        var state = State()
        if let bytes = try PrivateFile.read(directory: path, name: Self.registry, atMost: Self.fileBytes) {
            state.models = try Self.models(bytes)
        }
        // Digests can be made again.
        if let bytes = try? PrivateFile.read(directory: path, name: Self.digests, atMost: Self.fileBytes),
            let members = (try? JSON.parse(bytes))?.object?.members
        {
            for member in members { state.digests[member.key] = member.value.string }
        }
        self.state = Mutex(state)
    }

    package var models: [Model] { state.withLock { $0.models } }

    package func path(of model: Model) -> String { "\(path)/\(model.file)" }

    // MARK: The registry

    /// Takes a file of this machine in: by a second name of it where the disk is the same, else as a copy.
    package func take(_ source: String, as model: Model) throws(RuntimeError) {
        let target = path(of: model)
        failpoint("model.copy")
        if linkat(AT_FDCWD, source, AT_FDCWD, target, AT_SYMLINK_FOLLOW) != 0, errno != EEXIST {
            try requireRoom(for: model.bytes)
            try copy(source, to: target)
        }
        try register(model)
    }

    /// Makes a whole copy of a peer's file a model.
    package func take(_ part: PartialFile, as model: Model) throws(RuntimeError) {
        try part.sync()
        guard rename(part.path, path(of: model)) == 0 else { throw SystemFailure.error("name a model's file") }
        try register(model)
    }

    private func register(_ model: Model) throws(RuntimeError) {
        try Folder.sync(path)
        failpoint("model.register.before")
        try change { models in
            models.removeAll { $0.name == model.name }
            models.append(model)
        }
        failpoint("model.register.after")
    }

    /// Forgets a model; its file goes unless another name leads to it.
    package func remove(_ name: String) throws(RuntimeError) {
        let gone = models.filter { $0.name == name }
        try change { $0.removeAll { $0.name == name } }
        let used = Set(models.map(\.file))
        for model in gone where !used.contains(model.file) { unlink(path(of: model)) }
    }

    /// On disk first, then here.
    private func change(_ change: (inout [Model]) -> Void) throws(RuntimeError) {
        var models = models
        change(&models)
        let rows = models.map { model -> JSON in
            [
                "name": .string(model.name), "source": .string(model.source), "digest": .string(model.digest),
                "bytes": .integer(Int64(model.bytes)),
            ]
        }
        try PrivateFile.replace(
            directory: path, name: Self.registry, with: (["models": .array(rows)] as JSON).encoded)
        state.withLock { [models] in $0.models = models }
    }

    private static func models(_ bytes: [UInt8]) throws(RuntimeError) -> [Model] {
        let damaged = RuntimeError(
            .corrupt, "the registry of added models (models/registry.json) is damaged: remove it, and add them again")
        guard let rows = (try? JSON.parse(bytes))?["models"]?.array else { throw damaged }
        var models: [Model] = []
        for row in rows.prefix(Limits.registeredModels) {
            guard let name = row["name"]?.string, let source = row["source"]?.string,
                let digest = row["digest"]?.string, isDigest(digest), let bytes = row["bytes"]?.integer, bytes >= 0
            else { throw damaged }
            models.append(Model(name: name, source: source, digest: digest, bytes: Int(clamping: bytes)))
        }
        return models
    }

    package static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    // MARK: Room

    /// Throws ``RuntimeError`` `.storageFull` where a file of so many bytes does not fit.
    package func requireRoom(for bytes: Int) throws(RuntimeError) {
        var disk = statvfs()
        guard statvfs(path, &disk) == 0 else { return }
        let free = Int(
            clamping: UInt64(disk.f_bavail).multipliedReportingOverflow(by: UInt64(disk.f_frsize)).partialValue)
        guard bytes > free - Limits.modelDiskReserve else { return }
        throw RuntimeError(
            .storageFull,
            "the model has \(bytes) bytes, and the disk of this host's models has \(free) left, of which "
                + "\(Limits.modelDiskReserve) stay free: make room on it")
    }

    private func copy(_ source: String, to target: String) throws(RuntimeError) {
        let draft = "\(target).draft"
        unlink(draft)
        let from = open(source, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard from >= 0 else { throw SystemFailure.error("open a model's file") }
        defer { close(from) }
        let into = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard into >= 0 else { throw SystemFailure.error("make a model's file") }
        defer { close(into) }
        guard Self.pour(from, into), fsync(into) == 0, rename(draft, target) == 0 else {
            let failure = SystemFailure.error("copy a model's file")
            unlink(draft)
            throw failure
        }
    }

    /// False with `errno` where it cannot go on.
    private static func pour(_ source: Int32, _ target: Int32) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1024 * 1024)
        while true {
            let count = read(source, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return count == 0 }
            var written = 0
            while written < count {
                let step = buffer.withUnsafeBytes {
                    write(target, $0.baseAddress.map { $0 + written }, count - written)
                }
                if step < 0, errno == EINTR { continue }
                guard step > 0 else { return false }
                written += step
            }
        }
    }

    // MARK: Digests

    /// The digest of any model file of this machine, from memory where the file is as it was; nil when `isStopped` said
    /// so.
    package func digest(of path: String, isStopped: () -> Bool = { false }) throws(RuntimeError) -> String? {
        guard let before = FileIdentity(path: path) else { throw RuntimeError(.system, "a model's file is not there") }
        if let known = state.withLock({ $0.digests[before.key] }) { return known }
        guard let digest = try FileDigest.sha256(of: path, isStopped: isStopped) else { return nil }
        // What changed while it was read has no digest yet.
        guard FileIdentity(path: path) == before else { return digest }
        remember(digest, of: before)
        return digest
    }

    private func remember(_ digest: String, of identity: FileIdentity) {
        let digests = state.withLock { state in
            if state.digests.count >= Self.digestsKept { state.digests = [:] }
            state.digests[identity.key] = digest
            return state.digests
        }
        var object = JSON.Object()
        for key in digests.keys.sorted() { object[key] = digests[key].map { .string($0) } }
        // Without it the digest is made again at the next start.
        try? PrivateFile.replace(directory: path, name: Self.digests, with: JSON.object(object).encoded)
    }

    // MARK: Copies on their way

    /// What is there of a file that is being copied from a peer, by its digest.
    package func part(_ digest: String) throws(RuntimeError) -> PartialFile {
        try PartialFile(path: "\(path)/\(digest).part")
    }
}
