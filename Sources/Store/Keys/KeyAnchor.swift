import Core
import Cryptography
import Glibc

/// A secret that lies beside this host's keys and goes into what seals a store's data keys, where that is the machine's
/// own key. It changes whenever a data key is destroyed: a copy of the database from before opens no more then, not even
/// with everything else that lies on this disk. That is what makes a deletion reach copies.
///
/// The file holds the anchor, or for the moment of a change the new one and the one before: whichever of the two the
/// database was sealed with, it opens.
struct KeyAnchor {
    static let bytes = 32

    /// Where the anchors of this user's stores lie.
    let folder: String
    private let name: String

    init(folder: String, store: Bytes16) {
        self.folder = folder
        name = "\(store).anchor"
    }

    /// The newest first; none before the first change.
    func load() throws(RuntimeError) -> [SymmetricKey] {
        let content = try PrivateFile.read(directory: folder, name: name, atMost: 2 * Self.bytes) ?? []
        guard content.count % Self.bytes == 0 else {
            throw RuntimeError(.corrupt, "the file \(name), without which the store does not open, is damaged")
        }
        return stride(from: 0, to: content.count, by: Self.bytes).map { SymmetricKey(content[$0..<$0 + Self.bytes]) }
    }

    /// On disk when it returns, and what was there before is written over.
    func save(_ anchors: [SymmetricKey]) throws(RuntimeError) {
        try Folder.create(folder)
        let old = Glibc.open("\(folder)/\(name)", O_WRONLY | O_NOFOLLOW | O_CLOEXEC)
        defer { if old >= 0 { Glibc.close(old) } }
        try PrivateFile.replace(directory: folder, name: name, with: anchors.flatMap { $0.reveal() })
        guard old >= 0 else { return }
        let zeros = [UInt8](repeating: 0, count: 2 * Self.bytes)
        // It has no name any more: should this fail, the file system alone could bring it back.
        _ = pwrite(old, zeros, zeros.count, 0)
        _ = fsync(old)
    }
}

/// Changes the anchor of an open store.
struct KeyResealing {
    let key: StoreKey
    let hostname: String
    let store: Bytes16
    /// Nil for a key of the configuration: it opens copies of the file anywhere, and is meant to.
    let anchor: KeyAnchor?

    /// There are two.
    var isUnsettled: Bool {
        get throws(RuntimeError) {
            try anchor.map { anchor throws(RuntimeError) in try anchor.load().count > 1 } ?? false
        }
    }

    /// Does away with the other anchor. Only once the database is sealed with this one without its log, too.
    func settle(on sealing: KeyEnvelope) throws(RuntimeError) {
        guard let anchor else { return }
        let anchors = try anchor.load()
        guard anchors.count > 1 else { return }
        for candidate in anchors
        where try KeyEnvelope(key, store: store, hostname: hostname, anchor: candidate).check == sealing.check {
            try anchor.save([candidate])
        }
    }

    /// Puts a fresh anchor beside the one that counts: what is sealed with it opens from now on, as what was sealed
    /// before. Nil where there are none.
    func begin(after sealing: KeyEnvelope) throws(RuntimeError) -> KeyEnvelope? {
        guard let anchor else { return nil }
        try settle(on: sealing)
        let fresh: SymmetricKey
        do {
            fresh = try SymmetricKey(random: KeyAnchor.bytes)
        } catch {
            throw RuntimeError(.system, "no random bytes can be had for the store", cause: error)
        }
        try anchor.save([fresh] + (try anchor.load()).prefix(1))
        return try KeyEnvelope(key, store: store, hostname: hostname, anchor: fresh)
    }
}
