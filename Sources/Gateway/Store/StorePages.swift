package import Core
import HTTPTypes
import Metrics

/// What the gateway is given of the store, for its operator.
package struct GatewayStore: Sendable {
    /// Gives an archive piece by piece, nil at its end.
    package typealias Archive = @Sendable () async throws -> [UInt8]?

    let backup: @Sendable (_ passphrase: Secret<String>?) async throws -> Archive
    let key: @Sendable (_ rotates: Bool) async throws -> JSON

    /// - Parameters:
    ///   - backup: begins one, sealed with the passphrase or else with the swarm's key.
    ///   - key: how the store's data keys stand; after a fresh one was taken where that is asked for.
    package init(
        backup: @escaping @Sendable (_ passphrase: Secret<String>?) async throws -> Archive,
        key: @escaping @Sendable (_ rotates: Bool) async throws -> JSON
    ) {
        self.backup = backup
        self.key = key
    }

    /// This host keeps nothing.
    package static let none = GatewayStore(
        backup: { _ in throw nothing }, key: { _ in throw nothing })
    private static let nothing = RuntimeError(.notFound, "this host keeps no store")
}

/// `/v1/admin/backup` and `/v1/admin/store/key`.
struct StorePages: Sendable {
    let store: GatewayStore

    /// Bytes a second of a backup: processor and disk are there for those who ask as well (figures.md, RF-28).
    private static let rate = 48 * 1024 * 1024
    /// Who takes less, after a minute, is cut off: as long as a backup is read, the store's log grows.
    private static let slowest = 1024 * 1024

    private let made = Counter(label: "igris_backups_total", dimensions: [("outcome", "made")])
    private let failed = Counter(label: "igris_backups_total", dimensions: [("outcome", "failed")])

    init(store: GatewayStore) { self.store = store }

    func respond(to route: StoreRoute, _ exchange: Exchange, body: [UInt8], _ writer: ReplyWriter) async throws {
        switch route {
        case .backup: try await backup(exchange, body, writer)
        case .key: try await writer.send(Reply(try await store.key(exchange.head.method == .post)))
        }
    }

    private func backup(_ exchange: Exchange, _ body: [UInt8], _ writer: ReplyWriter) async throws {
        let passphrase = try Self.passphrase(body, exchange)
        do {
            let archive = try await store.backup(passphrase)
            try await exchange.client.whilePresent {
                // Begun before the head is sent: what cannot be backed up is still a plain error.
                guard var piece = try await archive() else { throw RuntimeError(.internal, "a backup was empty") }
                try await writer.openStream([.cacheControl: "no-store"], type: ContentType.bytes)
                let begun = ContinuousClock.now
                var sent = 0
                while true {
                    try await writer.send(part: piece)
                    sent += piece.count
                    guard ContinuousClock.now - begun < .seconds(60 + sent / Self.slowest) else {
                        throw RuntimeError(.timedOut, "the backup was taken too slowly")
                    }
                    let due = begun + .seconds(Double(sent) / Double(Self.rate))
                    if due > .now { try await Task.sleep(until: due) }
                    guard let next = try await archive() else { break }
                    piece = next
                }
                try await writer.finish()
            }
            made.increment()
        } catch {
            failed.increment()
            throw error
        }
    }

    private static func passphrase(_ body: [UInt8], _ exchange: Exchange) throws -> Secret<String>? {
        guard !body.isEmpty else { return nil }
        guard let object = try JSON.parse(body).object else {
            throw RuntimeError(.invalidRequest, "the body must be a JSON object")
        }
        if let stranger = object.members.first(where: { $0.key != "passphrase" })?.key {
            throw RuntimeError(
                .invalidRequest, "\(stranger.prefix(100)) is not known; there is: passphrase",
                parameter: String(stranger.prefix(100)))
        }
        guard let value = object["passphrase"], value != .null else { return nil }
        guard let text = value.string, (12...1_024).contains(text.utf8.count) else {
            throw RuntimeError(
                .invalidRequest, "passphrase must be a text of 12 to 1024 bytes", parameter: "passphrase")
        }
        // On a network it would travel in the open.
        guard exchange.client.isOwnUser || exchange.client.peer?.isLoopback == true || exchange.client.isSecure else {
            throw RuntimeError(.forbidden, "a passphrase is taken on this machine only, or over TLS")
        }
        return Secret(text)
    }
}
