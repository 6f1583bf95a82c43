package import Core

/// What follows from operations for the rows of the views: turns a write of the log into a commit for the store. It
/// decides what a delete takes away, on the host where it was asked for as on all others.
package struct ConversationLedger: Sendable {
    private struct Row: Sendable {
        var summary = Summary()
        /// Kept while there are deletes only; without them everything is visible.
        var history: StreamHistory?
        /// The stream could not be read: its operations are kept, its row stays as it is.
        var isUnreadable = false
        var lastUse: UInt64 = 0
    }

    private var rows: [StreamID: Row] = [:]
    private var uses: UInt64 = 0
    /// Operations that are on their way to the store, by write: what is read from there may lack them.
    private var inFlight: [UInt64: [Operation]] = [:]

    /// Their rows in the store may count what it refused: the next commit puts them right.
    private var suspects: Set<StreamID> = []
    private var mended: [UInt64: Set<StreamID>] = [:]

    private static let limit = 4_096

    package init() {}

    /// Whether `operations` can be judged without reading `stream` first.
    package func knows(_ stream: StreamID, for operations: [Operation]) -> Bool {
        guard let row = rows[stream] else { return false }
        return row.history != nil || row.isUnreadable
            || !operations.contains { $0.stream == stream && $0.kind.removes }
    }

    /// The streams that must be loaded before `operations` can be committed, ascending: theirs, and those whose rows
    /// must be put right.
    package func unknown(_ operations: [Operation]) -> [StreamID] {
        suspects.union(operations.map(\.stream)).filter { !knows($0, for: operations) }.sorted()
    }

    /// Changes whenever something of a stream goes to the store or has arrived there: what was read before may lack it.
    package func mark(of stream: StreamID) -> [UInt64] {
        inFlight.filter { $0.value.contains { $0.stream == stream } }.keys.sorted() + [rows[stream]?.lastUse ?? 0]
    }

    /// Takes what the store has of a stream; nil where that cannot be read.
    package mutating func load(_ stream: StreamID, _ stored: [Operation]?, withHistory: Bool = false) {
        if let row = rows[stream], row.history != nil || !withHistory { return }
        guard let stored else {
            rows[stream] = Row(isUnreadable: true, lastUse: nextUse())
            return
        }
        var all = stored
        var known = Set(stored.map(\.dot))
        for (_, operations) in inFlight.sorted(by: { $0.key < $1.key }) {
            all += operations.filter { $0.stream == stream && known.insert($0.dot).inserted }
        }
        var row = Row(lastUse: nextUse())
        let history = StreamHistory(all)
        row.summary = Summary(of: history.shown)
        if withHistory || history.removesAnything { row.history = history }
        rows[stream] = row
    }

    /// The conversation's row as it is after all that was committed; nil where there is none, or none is known.
    package func header(of stream: StreamID) -> ConversationHeader? { rows[stream]?.summary.header(of: stream) }
    package func isLoaded(_ stream: StreamID) -> Bool { rows[stream].map { !$0.isUnreadable } ?? false }

    /// The commit for `write`; all of its streams must be known. What is deleted goes into the store erased.
    package mutating func commit(_ write: Replication.Write, prefixes: [PrefixMatch] = []) -> Commit {
        var commit = Commit(
            heads: write.heads, prefixes: prefixes, seals: write.seals, durability: write.isOwn ? .synced : .relaxed)
        var touched: Set<StreamID> = []
        var places: [Dot: Int] = [:]
        /// Of these something may be visible that was not, or no more.
        var decided: Set<StreamID> = []
        for (index, operation) in write.operations.enumerated() {
            let stream = operation.stream
            touched.insert(stream)
            // Out of the table: what is changed there is not copied.
            var row = rows.removeValue(forKey: stream) ?? Row(isUnreadable: true)
            row.lastUse = nextUse()
            if operation.kind.removes, row.history == nil { row.history = StreamHistory() }
            // What waited for this one may be visible now.
            if operation.kind.removes || row.history?.hasUndetermined == true { decided.insert(stream) }
            row.history?.add(operation)
            if operation.kind != .delete, !row.isUnreadable, row.history?.isShown(operation.dot) ?? true {
                row.summary.add(operation)
            }
            commit.operations.append(operation)
            places[operation.dot] = index
            // What takes it away was here before it.
            if row.history?.isHidden(operation.dot) == true {
                commit.operations[index] = operation.erased
                row.history?.markErased([operation.dot])
            }
            rows[stream] = row
        }
        let mending = suspects.filter { rows[$0] != nil }
        suspects.subtract(mending)
        mended[write.number] = mending
        // Rows that came back from a peer's copy may have been deleted while they were away.
        for stream in decided.union(mending).sorted() {
            guard let history = rows[stream]?.history else { continue }
            let hidden = history.hidden
            for dot in hidden {
                if let place = places[dot] {
                    commit.operations[place] = commit.operations[place].erased
                } else {
                    commit.erasures.append(dot)
                }
            }
            rows[stream]?.history?.markErased(hidden)
            if let history = rows[stream]?.history { rows[stream]?.summary = Summary(of: history.shown) }
        }
        for stream in touched.union(mending).sorted() {
            guard let row = rows[stream], !row.isUnreadable else { continue }
            if let header = row.summary.header(of: stream) {
                commit.conversations.append(header)
            } else {
                commit.removals.append(stream)
            }
        }
        let gone = Set(commit.operations.filter { $0.flags.contains(.erased) }.map(\.dot))
        commit.prefixes.removeAll { gone.contains($0.dot) }
        inFlight[write.number] = commit.operations
        return commit
    }

    /// Whether rows in the store must be put right; once ``unknown(_:)`` of no operations is loaded, ``mending()`` does.
    package var mustMend: Bool { !suspects.isEmpty }

    /// Rows in the store may not be what follows from the operations there.
    package mutating func suspect(_ streams: some Sequence<StreamID>) {
        for stream in streams {
            suspects.insert(stream)
            rows[stream] = nil
        }
    }

    /// A commit, without operations, that puts rows right. It is settled or refused under the number 0.
    package mutating func mending() -> Commit {
        commit(Replication.Write(number: 0, isOwn: false, operations: [], heads: [], seals: []))
    }

    /// The store has it.
    package mutating func settled(_ number: UInt64) {
        inFlight[number] = nil
        mended[number] = nil
        guard rows.count > Self.limit, inFlight.isEmpty else { return }
        let keep = rows.sorted { $0.value.lastUse > $1.value.lastUse }.prefix(Self.limit / 4 * 3)
        rows = Dictionary(uniqueKeysWithValues: keep.map { ($0.key, $0.value) })
    }

    /// The store refused it: what it has is read again.
    package mutating func refused(_ number: UInt64) {
        suspects.formUnion(mended.removeValue(forKey: number) ?? [])
        suspects.formUnion((inFlight.removeValue(forKey: number) ?? []).map(\.stream))
        for stream in suspects { rows[stream] = nil }
    }

    private mutating func nextUse() -> UInt64 {
        uses &+= 1
        return uses
    }

    // MARK: - The row of a conversation

    /// The row that follows from what is visible of a stream; nil for nothing.
    package static func header(of operations: [Operation]) -> ConversationHeader? {
        guard let stream = operations.first?.stream else { return nil }
        return Summary(of: operations).header(of: stream)
    }

    /// What a row says, whatever the order in which the operations came: where this host's disk refused a
    /// conversation's beginning, it comes back from a peer after what follows it.
    private struct Summary: Sendable {
        private var description: (meta: ConversationMeta, timestamp: HybridTimestamp, dot: Dot)?
        private var turns = 0
        private var updated = HybridTimestamp(rawValue: 0)

        init() {}
        init(of operations: [Operation]) { for operation in operations { add(operation) } }

        /// Of several descriptions, written at once on several hosts, the earliest counts.
        mutating func add(_ operation: Operation) {
            guard !operation.flags.contains(.erased) else { return }
            switch operation.kind {
            case .conversationMeta:
                if let former = description,
                    (former.timestamp, former.dot) < (operation.timestamp, operation.dot)
                {
                    return
                }
                // One that cannot be read describes nothing.
                guard let meta = try? TurnCodec.decodeMeta(operation.body) else { return }
                description = (meta, operation.timestamp, operation.dot)
            case .userTurn, .assistantTurn:
                turns += 1
                updated = max(updated, operation.timestamp)
            default: break
            }
        }

        /// Nil while nothing describes it.
        func header(of stream: StreamID) -> ConversationHeader? {
            description.map { meta, created, _ in
                ConversationHeader(
                    stream: stream, id: meta.id, owner: meta.owner, created: created, updated: max(created, updated),
                    turns: turns)
            }
        }
    }
}

extension Operation {
    /// What is left when its content goes.
    package var erased: Operation {
        guard !flags.contains(.erased), !body.isEmpty else { return self }
        var bare = self
        bare.body = OperationLog.contentHash(of: self)
        bare.flags.insert(.erased)
        return bare
    }
}
