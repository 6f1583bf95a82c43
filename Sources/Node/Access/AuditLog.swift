package import Core
internal import Cryptography
package import Guardian
package import Logging
internal import Metrics
internal import Swarm
internal import Synchronization

/// Who was refused and who used rights that not everyone has, on this host: the shell of ``AuditChain``. Entries are
/// operations of the replicated log: sealed on the disk, signed, and copied to every host of the swarm.
package actor AuditLog {
    package struct Page: Sendable {
        package var entries: [AuditEntry]
        package var broken: AuditChain.Break?
        package var total: Int
    }

    private static let look = Duration.milliseconds(200)
    /// So far back the end of the chain is looked for.
    private static let days: UInt64 = 400

    private let node: NodeID
    private let writer: LogWriter
    private let store: any ContextStore
    private let wallClock: @Sendable () -> UInt64
    private let log: Logger
    private let start = ContinuousClock.now

    private var chain: AuditChain?
    private var tally = DenialTally()
    private var isWriting = false
    private let waiting = Mutex<[AuditEvent]>([])
    private let written = Counter(label: "igris_audit_entries_total")
    private let lost = Counter(label: "igris_audit_lost_total")

    /// - Parameter wallClock: milliseconds since 1970.
    package init(
        node: NodeID, writer: LogWriter, store: any ContextStore, wallClock: @escaping @Sendable () -> UInt64,
        log: Logger
    ) {
        self.node = node
        self.writer = writer
        self.store = store
        self.wallClock = wallClock
        self.log = log
    }

    /// Takes an event, to be written within a moment. Waits for nothing; where too many wait, it is counted and lost.
    package nonisolated func record(_ event: AuditEvent) {
        let isTaken = waiting.withLock { waiting in
            guard waiting.count < Limits.auditQueue else { return false }
            waiting.append(event)
            return true
        }
        if !isTaken { lost.increment() }
    }

    /// Writes what comes until the task is cancelled, and then what is left.
    package func run() async {
        while !Task.isCancelled {
            await flush()
            // Cancelled with the run.
            try? await Task.sleep(for: Self.look)
        }
        await Task { await flush(isLast: true) }.value
    }

    private func flush(isLast: Bool = false) async {
        // One after the other: each goes on from the end of the one before.
        while isWriting {
            guard !Task.isCancelled else { return }
            // A cancelled one ends with the next look.
            try? await Task.sleep(for: .milliseconds(5))
        }
        isWriting = true
        defer { isWriting = false }
        let events = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        let now = ContinuousClock.now - start
        var due: [(event: AuditEvent, count: UInt64)] = []
        for event in events {
            switch event.kind {
            case .privileged: due.append((event, 1))
            case .denied, .external: if let event = tally.noted(event, at: now) { due.append((event, 1)) }
            }
        }
        due += tally.due(at: now)
        if isLast { due += tally.rest() }
        guard !due.isEmpty else { return }
        do {
            try await write(due)
        } catch {
            lost.increment(by: due.count)
            log.warning(
                "the audit log could not be written", metadata: ["error": "\(error)", "audit.entries": "\(due.count)"])
        }
    }

    private func write(_ due: [(event: AuditEvent, count: UInt64)]) async throws {
        var chain = try await end()
        let wall = wallClock()
        let entries = due.map { chain.append($0.event, count: $0.count, milliseconds: wall) }
        do {
            do {
                try await append(entries, day: wall / 86_400_000)
            } catch let error as RuntimeError where error.code == .corrupt {
                // A damaged row of today shuts its stream; tomorrow's is read with it.
                try await append(entries, day: wall / 86_400_000 + 1)
            }
        } catch {
            // Whether it stands is read again.
            self.chain = nil
            throw error
        }
        self.chain = chain
        written.increment(by: entries.count)
    }

    private func append(_ entries: [AuditEntry], day: UInt64) async throws {
        let stream = Self.stream(of: node, day: day)
        let drafts = entries.map { OperationLog.Draft(kind: .audit, stream: stream, body: $0.encoded) }
        failpoint("audit.append.before")
        _ = try await writer.append(LogWriter.Entry(drafts: drafts))
        failpoint("audit.append.after")
    }

    private func end() async throws -> AuditChain {
        if let chain { return chain }
        let last = try await rows(of: node) { $0.contains { $0.entry != nil } }.last { $0.entry != nil }?.entry
        // After one that does not open the chain goes on all the same: what breaks it is shown where it is.
        let found = AuditChain(after: last)
        chain = found
        return found
    }

    // MARK: - Reading

    /// The entries of a host, this one or another, the latest `limit` of them after the entry `number`; and whether all
    /// of its chain holds, where that is asked.
    package func page(of host: NodeID?, after number: UInt64?, limit: Int, verifies: Bool) async throws -> Page {
        let host = host ?? node
        if host == node { await flush() }
        let entries = try await rows(of: host) { rows in
            // Whoever wants the latest only is not made to wait for a year's.
            guard !verifies, let first = rows.first(where: { $0.entry != nil })?.entry?.number else { return false }
            return number.map { first <= $0 &+ 1 } ?? (rows.count >= limit)
        }
        .map(\.entry)
        let readable = entries.compactMap(\.self)
        let shown =
            number.map { number in readable.drop { $0.number <= number }.prefix(limit) } ?? readable.suffix(limit)
        return Page(
            entries: Array(shown), broken: verifies ? AuditChain.firstBreak(in: entries) : nil, total: entries.count)
    }

    /// Of a row that no longer opens its place is left, without an entry.
    private typealias Row = (dot: Dot, entry: AuditEntry?)

    /// A host's rows as they were written, from the latest days back until `isEnough`.
    private func rows(of host: NodeID, until isEnough: ([Row]) -> Bool) async throws -> [Row] {
        let today = wallClock() / 86_400_000
        // What was written a day ahead, by a clock that was or beside a damaged row, stands among today's.
        var rows = try await read(Self.stream(of: host, day: today + 1))
        var day = today
        while true {
            rows += try await read(Self.stream(of: host, day: day))
            rows.sort { $0.dot < $1.dot }
            guard day > 0, day + Self.days > today, !isEnough(rows) else { return rows }
            day -= 1
        }
    }

    private func read(_ stream: StreamID) async throws -> [Row] {
        let operations: [Operation]
        do {
            operations = try await store.operations(of: stream)
        } catch let error as RuntimeError where error.code == .corrupt {
            operations = try await store.remains(of: stream)
        }
        return operations.filter { $0.kind == .audit || $0.body.isEmpty }.map {
            ($0.dot, try? AuditEntry.decode($0.body))
        }
    }

    /// One for each host and day, the same on every host.
    private static func stream(of node: NodeID, day: UInt64) -> StreamID {
        let hash = SHA256.hash(Array("igris-audit-1\u{0}\(node)\u{0}\(day)".utf8))
        return StreamID(Bytes16(hash) ?? Bytes16(high: 0, low: 0))
    }
}
