package import Core
internal import Logging
internal import Metrics
package import Swarm

/// The shell of ``OperationLog``: the one writer of this host's stream. What is asked while a commit is on its way to
/// disk goes together into the next one.
package actor LogWriter {
    /// What one caller wants written, all of it or nothing.
    package struct Entry: Sendable {
        /// Drafts of one conversation; each turn follows the one before it, the first what it names.
        package var drafts: [OperationLog.Draft]
        /// For each draft the hash under which its history is recognised later, where there is one.
        package var prefixes: [PrefixHash?]

        package init(drafts: [OperationLog.Draft], prefixes: [PrefixHash?] = []) {
            self.drafts = drafts
            self.prefixes = prefixes
        }
    }

    private struct Waiting {
        var entry: Entry
        var result: CheckedContinuation<[Operation], any Error>
    }

    private let store: any ContextStore
    private let wallClock: @Sendable () -> UInt64
    private var log: OperationLog?
    private var unavailable: RuntimeError?
    private var waiting: [Waiting] = []
    private var isWriting = false
    private var headers = HeaderCache()
    private var refusal: (error: RuntimeError, at: ContinuousClock.Instant)?

    private let commitSeconds = Timer(label: "igris_store_commit_duration_seconds")
    private let written = Counter(label: "igris_store_operations_total")
    private let failures = Counter(label: "igris_store_commit_failures_total")

    /// - Parameter wallClock: milliseconds since 1970.
    package init(store: any ContextStore, wallClock: @escaping @Sendable () -> UInt64) {
        self.store = store
        self.wallClock = wallClock
    }

    /// Reads where the log stands. A store that cannot be read stays as it is; ``failure`` tells why.
    package func recover() async {
        do {
            log = OperationLog(try await store.recover())
            unavailable = nil
        } catch {
            unavailable =
                error as? RuntimeError ?? RuntimeError(.system, "the store could not be read", cause: error)
        }
    }

    /// Why nothing can be written, if so.
    package var failure: RuntimeError? { unavailable }

    /// How long a refused commit counts as the present state. After that turns are let through again: only the next
    /// commit can tell whether the disk has recovered.
    private static let refusalHolds = Duration.seconds(10)

    /// Why the last commit was refused, while that is news.
    package var lastRefusal: RuntimeError? {
        guard let refusal, ContinuousClock.now - refusal.at < Self.refusalHolds else { return nil }
        return refusal.error
    }

    /// Entries that wait for the commit before them.
    package var queued: Int { waiting.count }

    /// Gives the drafts their places and returns the operations once they are on disk.
    package func append(_ entry: Entry) async throws -> [Operation] {
        if let unavailable { throw unavailable }
        return try await withCheckedThrowingContinuation { result in
            waiting.append(Waiting(entry: entry, result: result))
            if !isWriting {
                isWriting = true
                // The actor's own writer: it ends when nothing waits.
                Task { await self.drain() }
            }
        }
    }

    package func header(of stream: StreamID) async throws -> ConversationHeader? {
        if let unavailable { throw unavailable }
        if let header = headers[stream] { return header }
        return try await store.conversation(stream)
    }

    private func drain() async {
        while !waiting.isEmpty {
            let batch = waiting
            waiting = []
            await write(batch)
        }
        isWriting = false
    }

    private func write(_ batch: [Waiting]) async {
        guard let before = log else {
            for member in batch { member.result.resume(throwing: RuntimeError(.unavailable, "the store is not open")) }
            return
        }
        var (members, known) = await withHeaders(batch)
        guard !members.isEmpty else { return }
        var after = before
        var commit = Commit()
        var operations: [[Operation]] = []
        do {
            for member in members {
                let own = Self.number(member.entry, in: &after, milliseconds: wallClock())
                for (index, operation) in own.enumerated() {
                    known[operation.stream] = try Self.header(known[operation.stream], after: operation)
                    if index < member.entry.prefixes.count, let prefix = member.entry.prefixes[index] {
                        commit.prefixes.append(
                            PrefixMatch(prefix: prefix, stream: operation.stream, dot: operation.dot))
                    }
                }
                commit.operations += own
                operations.append(own)
            }
        } catch {
            for member in members { member.result.resume(throwing: error) }
            return
        }
        commit.heads = [after.head(of: after.origin)]
        commit.conversations = known.values.sorted { $0.stream < $1.stream }
        log = after
        do {
            let start = ContinuousClock.now
            try await store.commit(commit)
            commitSeconds.record(duration: ContinuousClock.now - start)
            refusal = nil
            written.increment(by: commit.operations.count)
            for header in known.values { headers[header.stream] = header }
            for (member, own) in zip(members, operations) { member.result.resume(returning: own) }
        } catch {
            failures.increment()
            let reason = error as? RuntimeError ?? RuntimeError(.system, "the store refused a commit", cause: error)
            refusal = (reason, ContinuousClock.now)
            var fresh = before
            // Whether they reached the disk is not known: the numbers are never used again, the rows are read again.
            fresh.abandonEpoch()
            log = fresh
            for stream in known.keys { headers[stream] = nil }
            for member in members { member.result.resume(throwing: error) }
        }
    }

    /// The members whose conversations' rows can be read, and these rows; the others fail, each by itself.
    private func withHeaders(
        _ batch: [Waiting]
    ) async -> (members: [Waiting], known: [StreamID: ConversationHeader]) {
        var members: [Waiting] = []
        var known: [StreamID: ConversationHeader] = [:]
        for member in batch {
            do {
                for stream in Set(member.entry.drafts.map(\.stream)) where known[stream] == nil {
                    known[stream] = try await header(of: stream)
                }
                members.append(member)
            } catch {
                member.result.resume(throwing: error)
            }
        }
        return (members, known)
    }

    /// Numbers the drafts of one entry.
    private static func number(_ entry: Entry, in log: inout OperationLog, milliseconds: UInt64) -> [Operation] {
        var drafts = entry.drafts
        var previous: Dot?
        for index in drafts.indices {
            if let previous { drafts[index].dependencies = [previous] }
            // The conversation's description is not part of its order.
            if drafts[index].kind != .conversationMeta { previous = log.nextDot(after: index) }
        }
        return log.proposed(drafts, milliseconds: milliseconds).flatMap { action -> [Operation] in
            if case .apply(let operations, _) = action { operations } else { [] }
        }
    }

    /// The view's row after one more operation.
    private static func header(
        _ header: ConversationHeader?, after operation: Operation
    ) throws(RuntimeError) -> ConversationHeader? {
        if operation.kind == .conversationMeta {
            let meta = try TurnCodec.decodeMeta(operation.body)
            return header
                ?? ConversationHeader(
                    stream: operation.stream, id: meta.id, owner: meta.owner, created: operation.timestamp,
                    updated: operation.timestamp, turns: 0)
        }
        guard var header else { return nil }
        header.updated = max(header.updated, operation.timestamp)
        header.turns += 1
        return header
    }
}

/// The rows of conversations in use, so that a commit need not read them first. Bounded; the oldest go.
private struct HeaderCache {
    private var rows: [StreamID: ConversationHeader] = [:]
    private static let limit = 4_096

    subscript(stream: StreamID) -> ConversationHeader? {
        get { rows[stream] }
        set {
            if rows.count >= Self.limit, rows[stream] == nil { rows.removeAll(keepingCapacity: true) }
            rows[stream] = newValue
        }
    }
}
