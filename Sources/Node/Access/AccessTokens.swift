package import Core
internal import Cryptography
package import Guardian
package import Logging
internal import Metrics
internal import Swarm
internal import Synchronization

/// The tokens of the swarm's clients: the shell of ``TokenTable``. Reads the notes of all hosts from the log, writes this
/// host's, and ends what is open in the name of a token that no longer opens anything.
package final class AccessTokens: Sendable {
    private struct State {
        var table = TokenTable()
        var newsNumber: UInt64 = 0
        /// All that there is was read once.
        var isRead = false
        /// What is open in the name of a token, and how it is ended.
        var open: [TokenDigest: [UInt64: @Sendable () -> Void]] = [:]
        var number: UInt64 = 0
    }

    package struct Listed: Sendable {
        package var token: AccessToken
        package var isRevoked: Bool
        package var isExpired: Bool

        package init(token: AccessToken, isRevoked: Bool, isExpired: Bool) {
            self.token = token
            self.isRevoked = isRevoked
            self.isExpired = isExpired
        }
    }

    /// Who has it by now that a token was made or revoked.
    package struct Spread: Sendable {
        package var hosts: Int
        /// All that are alive, this one included.
        package var of: Int
    }

    /// How long a client waits for other hosts to have its word.
    private static let replication = Duration.seconds(2)

    /// What could not be read is tried again every so many looks: 5 s.
    private static let retries = 50

    private let writer: LogWriter
    private let store: any ContextStore
    private let members: @Sendable () async -> [HostReport]
    private let wallClock: @Sendable () -> UInt64
    private let log: Logger
    private let state = Mutex(State())
    private let ended = Counter(label: "igris_access_cut_off_total")

    /// - Parameters:
    ///   - members: everyone in the swarm, this host too.
    ///   - wallClock: milliseconds since 1970.
    package init(
        writer: LogWriter, store: any ContextStore, members: @escaping @Sendable () async -> [HostReport],
        wallClock: @escaping @Sendable () -> UInt64, log: Logger
    ) {
        self.writer = writer
        self.store = store
        self.members = members
        self.wallClock = wallClock
        self.log = log
    }

    // MARK: - Use

    package func standing(of digest: TokenDigest) -> TokenTable.Standing {
        state.withLock { $0.isRead ? $0.table.standing(of: digest, at: wallClock()) : .unknown }
    }

    /// Something is done in the name of a token. `end` is called, once, when the token opens nothing any more.
    /// Nil where that is so by now.
    package func begin(_ digest: TokenDigest, end: @escaping @Sendable () -> Void) -> UInt64? {
        state.withLock { state in
            guard state.isRead, case .valid = state.table.standing(of: digest, at: wallClock()) else { return nil }
            state.number += 1
            state.open[digest, default: [:]][state.number] = end
            return state.number
        }
    }

    /// It is done.
    package func finish(_ digest: TokenDigest, _ number: UInt64) {
        state.withLock { state in
            state.open[digest]?[number] = nil
            if state.open[digest]?.isEmpty == true { state.open[digest] = nil }
        }
    }

    /// Those that are called so and open something now.
    package func valid(called name: String) -> [AccessToken] {
        state.withLock { state in
            guard state.isRead else { return [] }
            return state.table.called(name).filter { $0.expires.map { $0 > wallClock() } ?? true }
        }
    }

    // MARK: - Changes

    /// Makes a token. Its text is told here and never again.
    ///
    /// - Throws: ``RuntimeError`` `.invalidRequest` for a name that a token has by now, what ``LogWriter/append(_:)``
    ///   throws.
    package func make(
        _ name: String, scopes: Scopes, models: [String], lifetime: Duration?, rate: Int?
    ) async throws -> (token: AccessToken, text: Secret<String>, spread: Spread) {
        try state.withLock { state throws(RuntimeError) in
            let namesakes = state.table.called(name)
            guard !namesakes.contains(where: { $0.expires.map { $0 > wallClock() } ?? true }) else {
                throw RuntimeError(
                    .invalidRequest,
                    "there is a token called \(name); revoke it first, or take another name", parameter: "name")
            }
            guard state.table.hasRoom else {
                throw RuntimeError(.overloaded, "there are \(Limits.tokens) tokens, which is the most that is kept")
            }
        }
        let text = TokenText.make(try SecureRandom.bytes(TokenText.randomBytes))
        let token = AccessToken(
            name: name, digest: TokenDigest(of: text.reveal()), scopes: scopes, models: models, created: wallClock(),
            expires: lifetime.map { wallClock() &+ UInt64(clamping: $0.components.seconds) &* 1_000 }, rate: rate)
        failpoint("token.issue.before")
        let spread = try await write([.made(token)])
        failpoint("token.issue.after")
        log.notice("a token was made", metadata: ["token.id": "\(token.id)", "token.name": "\(name)"])
        return (token, text, spread)
    }

    /// Revokes those that are called so, by name or id. They open nothing on this host from the call on, whatever the
    /// disk says.
    ///
    /// - Throws: ``RuntimeError`` `.notFound`, what ``LogWriter/append(_:)`` throws.
    package func revoke(_ text: String) async throws -> (tokens: [AccessToken], spread: Spread) {
        let tokens = state.withLock { $0.table.called(text) }
        guard !tokens.isEmpty else {
            throw RuntimeError(
                .notFound, "there is no token of that name or id that is not revoked; igris-runtime token ls lists them"
            )
        }
        end(
            state.withLock { state in
                for token in tokens { _ = state.table.revoke(token.digest) }
                return Self.taken(tokens.map(\.digest), from: &state)
            })
        failpoint("token.revoke.before")
        let spread = try await write(tokens.map { .revoked($0.digest) })
        failpoint("token.revoke.after")
        for token in tokens {
            log.notice("a token was revoked", metadata: ["token.id": "\(token.id)", "token.name": "\(token.name)"])
        }
        return (tokens, spread)
    }

    /// The oldest first.
    package func all() -> [Listed] {
        state.withLock { $0.table.all(at: wallClock()) }.map {
            Listed(token: $0.token, isRevoked: $0.isRevoked, isExpired: $0.isExpired)
        }
    }

    private func write(_ notes: [TokenNote]) async throws -> Spread {
        let drafts = notes.map { OperationLog.Draft(kind: .token, stream: TokenNote.stream, body: $0.encoded) }
        let written = try await writer.append(LogWriter.Entry(drafts: drafts)).operations
        take(written)
        guard let last = written.last?.dot else { return Spread(hosts: 1, of: 1) }
        let end = ContinuousClock.now + Self.replication
        while true {
            let others = await members().count { !$0.isSelf && $0.state == .alive }
            let holders = await writer.holders(of: last).count
            guard holders < others, .now < end, !Task.isCancelled else {
                // What they have they look at within this.
                if holders > 0 { try? await Task.sleep(for: Limits.tokenWatch) }
                return Spread(hosts: 1 + holders, of: 1 + max(others, holders))
            }
            // A client that has gone waits for nothing; what it asked for stands all the same.
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    // MARK: - Notes

    /// Reads all that there is: before the first request, and where too much was missed.
    package func readAll() async {
        let next = await writer.news(since: state.withLock { $0.newsNumber }).next
        do {
            take(try await store.operations(of: TokenNote.stream))
            state.withLock { state in
                state.newsNumber = next
                state.isRead = true
            }
        } catch {
            // They open nothing then: what cannot be read may be that one was revoked.
            state.withLock { $0.isRead = false }
            log.warning("the tokens of clients could not be read", metadata: ["error": "\(error)"])
        }
    }

    /// Follows the log until the task is cancelled.
    package func run() async {
        var round = 0
        while !Task.isCancelled {
            round += 1
            let (number, isRead) = state.withLock { ($0.newsNumber, $0.isRead) }
            let news = await writer.news(since: number)
            if !isRead {
                // A damaged row may have come back from another host.
                if round % Self.retries == 0 { await readAll() }
            } else if let operations = news.operations {
                take(operations)
                state.withLock { $0.newsNumber = max($0.newsNumber, news.next) }
            } else {
                await readAll()
            }
            end(
                state.withLock { state in
                    let expired = state.table.expired(at: wallClock())
                    return Self.taken(expired, from: &state)
                })
            // Cancelled with the run.
            try? await Task.sleep(for: Limits.tokenWatch)
        }
    }

    private func take(_ operations: [Operation]) {
        guard operations.contains(where: { $0.kind == .token }) else { return }
        end(
            state.withLock { state in
                let ended = state.table.noted(operations)
                return Self.taken(ended, from: &state)
            })
    }

    private static func taken(_ digests: [TokenDigest], from state: inout State) -> [@Sendable () -> Void] {
        digests.flatMap { digest in state.open.removeValue(forKey: digest).map { Array($0.values) } ?? [] }
    }

    private func end(_ open: [@Sendable () -> Void]) {
        for each in open { each() }
        if !open.isEmpty { ended.increment(by: open.count) }
    }
}
