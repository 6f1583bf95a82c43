import Core

/// What the roof may do with the models of this host.
package protocol ModelServices: Sendable {
    /// Takes a model file of this machine in, and serves it from now on, also after a restart. Returns its name.
    ///
    /// - Throws: ``RuntimeError``: `.invalidRequest` with the field, `.corrupt` for a file that is no model,
    ///   `.storageFull`, `.system`.
    func addModel(path: String, name: String?) async throws -> String

    /// Forgets a model that was added or copied; running answers may end. Throws ``RuntimeError`` `.modelNotFound`,
    /// `.invalidRequest` for one of the configuration.
    func removeModel(_ name: String) async throws

    /// Copies a model's file from a peer, going on where an earlier copy stopped. Returns its name here.
    ///
    /// - Parameters:
    ///   - host: the peer's name, or its id or the beginning of that.
    ///   - newName: what it is to be called here; nil: as there.
    ///   - progress: called after each piece.
    func copyModel(
        _ name: String, from host: String, as newName: String?,
        progress: @Sendable (ModelCopyProgress) async throws -> Void
    ) async throws -> String

    /// A model file of this host for a peer, by its digest: only one of the registry, and only while it is what it was.
    /// Throws ``RuntimeError`` `.notFound`, `.overloaded`.
    func offeredModel(_ digest: String) async throws -> OfferedModel
}

package struct ModelCopyProgress: Hashable, Sendable {
    package enum Phase: String, Hashable, Sendable {
        case copying
        /// All bytes are there: their hash is made.
        case checking
    }

    package var phase: Phase
    package var digest: String
    package var bytes: Int
    package var total: Int

    package init(_ phase: Phase, digest: String, bytes: Int, total: Int) {
        self.phase = phase
        self.digest = digest
        self.bytes = bytes
        self.total = total
    }
}

package struct OfferedModel: Sendable {
    package var bytes: Int
    package var read: @Sendable (Range<Int>) async throws -> [UInt8]

    package init(bytes: Int, read: @escaping @Sendable (Range<Int>) async throws -> [UInt8]) {
        self.bytes = bytes
        self.read = read
    }
}
