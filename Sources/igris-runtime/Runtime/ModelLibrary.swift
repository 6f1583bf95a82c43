import BuiltinModel
import Core
import Engine
import GGUF
import Logging
import NIOPosix
import Node
import Settings
import Store

/// The models that came while the daemon ran, or an earlier one: added from a file, or copied from a peer.
actor ModelLibrary: ModelServices {
    private static let attempts = 15
    private static let attemptsWithoutFile = 4
    private static let pause = Duration.seconds(1)

    private let folder: ModelFolder
    private let models: Models
    private let files: ModelFiles
    private let log: Logger
    private let making: @Sendable (Settings.Model) throws -> Models.Making
    /// Nil where this host shares nothing.
    private let swarm: SwarmNode?
    private var isCopying = false
    private var reading = 0

    init(
        folder: ModelFolder, models: Models, files: ModelFiles, swarm: SwarmNode?, log: Logger,
        making: @escaping @Sendable (Settings.Model) throws -> Models.Making
    ) {
        self.folder = folder
        self.models = models
        self.files = files
        self.swarm = swarm
        self.log = log
        self.making = making
    }

    /// Registers what an earlier daemon took in. One that cannot be is left out, and said.
    func restore() async {
        for model in folder.models {
            do {
                try await register(model)
            } catch {
                log.error(
                    "a model that was added cannot be served",
                    metadata: ["model.name": "\(model.name)", "error": "\(error)"])
            }
        }
    }

    // MARK: Adding and removing

    func addModel(path: String, name: String?) async throws -> String {
        guard path.hasPrefix("/") else {
            throw RuntimeError(.invalidRequest, "path must be absolute", parameter: "path")
        }
        let header = try await blocking { try Self.header(path) }
        let usual = path.split(separator: "/").last.map { $0.hasSuffix(".gguf") ? String($0.dropLast(5)) : String($0) }
        let name = try checked(name ?? usual ?? "")
        guard let digest = try await blocking({ [folder] in try folder.digest(of: path) }) else {
            throw CancellationError()
        }
        let model = ModelFolder.Model(
            name: name, source: Models.Source.added.rawValue, digest: digest, bytes: header.bytes)
        try checkFree(name)
        try await blocking { [folder] in try folder.take(path, as: model) }
        try await serve(model)
        return name
    }

    func removeModel(_ name: String) async throws {
        let entry = try await models.remove(name)
        files.remove(entry.name)
        try await blocking { [folder] in try folder.remove(entry.name) }
        log.notice("a model was removed", metadata: ["model.name": "\(entry.name)"])
    }

    /// The first line of defence: what is no model, or half of one, is not taken in.
    private static func header(_ path: String) throws -> ModelFile {
        let header: GGUFFile
        do {
            header = try GGUFFile(path: path)
        } catch {
            // Whatever is wrong with it, the request names it.
            throw RuntimeError(.invalidRequest, error.message, parameter: "path", cause: error)
        }
        guard header.parts == 1 else {
            throw RuntimeError(
                .invalidRequest,
                "this file is one of \(header.parts) that make the model; join them first: llama-gguf-split --merge "
                    + "FIRST-FILE WHOLE.gguf", parameter: "path")
        }
        return header.modelFile
    }

    private func checked(_ name: String) throws -> String {
        guard (1...200).contains(name.utf8.count), name.first != " ", name.last != " ",
            !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else {
            throw RuntimeError(.invalidRequest, "name must be 1 to 200 bytes of printable text", parameter: "name")
        }
        try checkFree(name)
        return name
    }

    private func checkFree(_ name: String) throws {
        guard (try? models.entry(named: name)) == nil else {
            throw RuntimeError(
                .invalidRequest, "there is a model '\(name)' here already; give this one another name (--name)",
                parameter: "name")
        }
    }

    /// Registers a model that was just taken in; what cannot be served is not kept.
    private func serve(_ model: ModelFolder.Model) async throws {
        do {
            try await register(model)
        } catch {
            try? folder.remove(model.name)
            throw error
        }
        log.notice(
            "a model is here", metadata: ["model.name": "\(model.name)", "model.source": "\(model.source)"])
    }

    private func register(_ model: ModelFolder.Model) async throws {
        let path = folder.path(of: model)
        let settings = Settings.Model(name: model.name, engine: await Self.engine(for: path), path: path)
        let file = WatchedModelFile(path: path)
        try await models.add(
            name: model.name, kind: settings.engine.rawValue,
            source: Models.Source(rawValue: model.source) ?? .added, making: try making(settings),
            file: { file.file })
        files.add(file, of: model.name)
    }

    /// llama.cpp's programs; where they are not installed the built-in engine runs what it can.
    private static func engine(for path: String) async -> Settings.Model.Engine {
        if LlamaProgram.isInstalled { return .auto }
        let isOurs = try? await NIOThreadPool.singleton.runIfActive {
            EmbeddedModel.isOfItsKind(try GGUFFile(path: path))
        }
        return isOurs == true ? .builtin : .auto
    }

    // MARK: Copying

    func copyModel(
        _ name: String, from host: String, as newName: String?,
        progress: @Sendable (ModelCopyProgress) async throws -> Void
    ) async throws -> String {
        guard let swarm else {
            throw RuntimeError(.unavailable, "this host is in no swarm; set mcp.enabled, then copy from a peer")
        }
        guard !isCopying else {
            throw RuntimeError(
                .overloaded, "a model is being copied already; wait for its end", retryAfter: .seconds(10))
        }
        isCopying = true
        defer { isCopying = false }
        let (node, there) = try Self.find(name, of: host, among: await swarm.hosts())
        let newName = try checked(newName ?? there.name)
        guard let file = there.file, let digest = file.digest, ModelFolder.isDigest(digest), file.bytes > 0 else {
            throw RuntimeError(
                .unavailable,
                "host \(host) has not told of a file of that model: its engine has none, or it is still being read",
                retryAfter: .seconds(5))
        }
        let part = try await blocking { [folder] in try folder.part(digest) }
        let begun = min(part.length, file.bytes)
        try folder.requireRoom(for: file.bytes - begun)
        log.notice(
            "a model is being copied",
            metadata: ["model.name": "\(there.name)", "peer.id": "\(node)", "bytes.begun": "\(begun)"])
        var done = begun
        while done < file.bytes {
            try await progress(ModelCopyProgress(.copying, digest: digest, bytes: done, total: file.bytes))
            let range = done..<min(done + Limits.modelPieceBytes, file.bytes)
            let begin = ContinuousClock.now
            let piece = try await fetch(digest, range, from: node, swarm)
            try await blocking { [done] in try part.append(piece, at: done) }
            done += piece.count
            // The other half of the time the link is free for what cannot wait.
            try await Task.sleep(for: min(ContinuousClock.now - begin, .seconds(2)))
        }
        try await progress(ModelCopyProgress(.checking, digest: digest, bytes: done, total: file.bytes))
        guard try await blocking({ try part.digest() }) == digest else {
            part.remove()
            throw RuntimeError(
                .corrupt,
                "what came from host \(host) is not the file that it told of; it was thrown away: copy it again")
        }
        do {
            _ = try await blocking { try Self.header(part.path) }
        } catch {
            part.remove()
            throw error
        }
        let model = ModelFolder.Model(
            name: newName, source: Models.Source.copied.rawValue, digest: digest, bytes: file.bytes)
        try await blocking { [folder] in try folder.take(part, as: model) }
        try await serve(model)
        return newName
    }

    /// A peer that is away for some seconds, or busy, is asked again.
    private func fetch(_ digest: String, _ range: Range<Int>, from node: NodeID, _ swarm: SwarmNode) async throws
        -> [UInt8]
    {
        var attempt = 1
        while true {
            do {
                let piece = try await swarm.fetch("/v1/sync/models/\(digest)", range, from: node)
                guard piece.count == range.count else {
                    throw RuntimeError(.unavailable, "the host sent another part of the file than was asked for")
                }
                return piece
            } catch let error as RuntimeError {
                // A host that has just started may still be looking at its files.
                if error.code == .notFound, attempt >= Self.attemptsWithoutFile {
                    throw RuntimeError(
                        .notFound,
                        "the host does not give this file: it is no whole model in one file, or has changed",
                        cause: error)
                }
                guard attempt < Self.attempts else {
                    throw RuntimeError(
                        .unavailable,
                        "\(error.message); \(range.lowerBound) bytes are here: the same command goes on from there",
                        cause: error)
                }
                attempt += 1
                try await Task.sleep(for: Self.pause)
            }
        }
    }

    private static func find(
        _ name: String, of host: String, among hosts: [HostReport]
    ) throws -> (NodeID, HostedModel) {
        let others = hosts.filter { !$0.isSelf && $0.state.isMember }
        let exact = others.filter { $0.name == host || $0.id?.description == host || "\($0.address)" == host }
        let begun = host.count >= 4 ? others.filter { $0.id?.description.hasPrefix(host) == true } : []
        let found = exact.isEmpty ? begun : exact
        guard found.count == 1, let peer = found.first, let node = peer.id else {
            throw RuntimeError(
                .invalidRequest,
                found.isEmpty
                    ? "no other host of the swarm is called that; igris-runtime peers lists them"
                    : "\(found.count) hosts are called that; name the one that is meant by its id", parameter: "host")
        }
        guard let model = peer.models.first(where: { $0.isCalled(name) }) else {
            let known = peer.models.map(\.name).joined(separator: ", ")
            throw RuntimeError(.modelNotFound, "that host has no such model; it has: \(known)", parameter: "model")
        }
        return (node, model)
    }

    // MARK: Offering

    func offeredModel(_ digest: String) async throws -> OfferedModel {
        let unknown = RuntimeError(.notFound, "this host has no such model file to give")
        guard ModelFolder.isDigest(digest), let offered = files.offered(digest) else { throw unknown }
        guard let file = try await blocking({ OpenFile(path: offered.path, as: offered.identity) }) else {
            throw unknown
        }
        return OfferedModel(bytes: file.length) { [self] in try await read(file, $0) }
    }

    /// Few at a time: the disk serves others, too.
    private func read(_ file: OpenFile, _ range: Range<Int>) async throws -> [UInt8] {
        guard reading < Limits.modelTransfers else {
            throw RuntimeError(.overloaded, "this host gives as many model files as it does at once")
        }
        reading += 1
        defer { reading -= 1 }
        return try await blocking { try file.read(range) }
    }

    /// Elsewhere than on the cooperative pool.
    private func blocking<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await NIOThreadPool.singleton.runIfActive(work)
    }
}
