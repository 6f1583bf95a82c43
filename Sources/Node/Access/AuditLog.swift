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
            case .denied: if let event = tally.noted(event, at: now) { due.append((event, 1)) }
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
        let stream = Self.stream(of: node, day: wall / 86_400_000)
        let drafts = entries.map { OperationLog.Draft(kind: .audit, stream: stream, body: $0.encoded) }
        do {
            _ = try await writer.append(LogWriter.Entry(drafts: drafts))
        } catch {
            // Whether it stands is read again.
            self.chain = nil
            throw error
        }
        self.chain = chain
        written.increment(by: entries.count)
    }

    private func end() async throws -> AuditChain {
        if let chain { return chain }
        let today = wallClock() / 86_400_000
        // A clock that was ahead may have written tomorrow.
        var day = today + 1
        while day > 0, day + Self.days > today {
            // After one that does not open the chain goes on all the same: what breaks it is shown where it is.
            if let last = try await read(Self.stream(of: node, day: day)).compactMap(\.self).last {
                let found = AuditChain(after: last)
                chain = found
                return found
            }
            day -= 1
        }
        let found = AuditChain()
        chain = found
        return found
    }

    // MARK: - Reading

    /// The entries of a host, this one or another, the latest `limit` of them after the entry `number`; and whether all
    /// of its chain holds, where that is asked.
    package func page(of host: NodeID?, after number: UInt64?, limit: Int, verifies: Bool) async throws -> Page {
        let host = host ?? node
        if host == node { await flush() }
        var entries: [AuditEntry?] = []
        let today = wallClock() / 86_400_000
        var day = today + 1
        while day > 0, day + Self.days > today {
            entries = try await read(Self.stream(of: host, day: day)) + entries
            day -= 1
            // Whoever wants the latest only is not made to wait for a year's.
            guard !verifies, let first = entries.first.flatMap(\.self)?.number else { continue }
            if number.map({ first <= $0 &+ 1 }) ?? (entries.count >= limit) { break }
        }
        let readable = entries.compactMap(\.self)
        let shown = number.map { number in readable.drop { $0.number <= number }.prefix(limit) } ?? readable.suffix(limit)
        return Page(
            entries: Array(shown), broken: verifies ? AuditChain.firstBreak(in: entries) : nil, total: entries.count)
    }

    private func read(_ stream: StreamID) async throws -> [AuditEntry?] {
        let operations: [Operation]
        do {
            operations = try await store.operations(of: stream)
        } catch let error as RuntimeError where error.code == .corrupt {
            operations = try await store.remains(of: stream)
        }
        // Of a row that no longer opens its place is left, without a body.
        return Self.sorted(operations).map { try? AuditEntry.decode($0.body) }
    }

    /// As they were written: by the epoch of the host, then in sequence.
    private static func sorted(_ operations: [Operation]) -> [Operation] {
        operations.filter { $0.kind == .audit || $0.body.isEmpty }.sorted { $0.dot < $1.dot }
    }

    /// One for each host and day, the same on every host.
    private static func stream(of node: NodeID, day: UInt64) -> StreamID {
        let hash = SHA256.hash(Array("igris-audit-1\u{0}\(node)\u{0}\(day)".utf8))
        return StreamID(Bytes16(hash) ?? Bytes16(high: 0, low: 0))
    }
}
