package import Core
internal import Logging
internal import Metrics
package import Swarm

/// Links, peers' messages and the store, as ``Replication`` wants them.
extension LogWriter {
    // MARK: - Links

    /// A link with `peer` carries its messages from now on.
    ///
    /// - Parameters:
    ///   - send: puts a whole message (``LinkChannel`` byte included) into the link's queue; never waits.
    ///   - queued: bytes in that queue.
    package func linked(
        _ peer: NodeID, send: @escaping @Sendable ([UInt8]) -> Void, queued: @escaping @Sendable () -> Int
    ) {
        links[peer] = Link(send: send, queued: queued)
        step(.linked(peer))
    }

    package func unlinked(_ peer: NodeID) {
        guard links.removeValue(forKey: peer) != nil else { return }
        step(.unlinked(peer))
    }

    /// A whole message of ``LinkChannel/replication``. Returns once there is room for the next: a reader that waits for
    /// it slows the peer down, not this host.
    ///
    /// - Returns: false for what cannot be understood: the link should be closed.
    package func received(_ message: [UInt8], from peer: NodeID) async -> Bool {
        failpoint("batch.receive")
        metrics.bytesReceived.increment(by: message.count)
        let malformed = tally.malformed
        step(.received(message, from: peer))
        guard tally.malformed == malformed else { return false }
        await waitForRoom()
        return true
    }

    /// Another host's batch, which `peer` brought through the tree.
    package func received(_ batch: OperationBatch, from peer: NodeID) async {
        step(.broadcast(batch, from: peer))
        await waitForRoom()
    }

    /// Whether what is fresh goes through the tree from now on: then it is told by ``broadcasts()``.
    package func spreads(throughTree: Bool) { step(.spreading(throughTree: throughTree)) }

    /// Batches for the tree. One listener; what it does not take in time others ask for.
    package func broadcasts() -> AsyncStream<OperationBatch> {
        let (stream, continuation) = AsyncStream<OperationBatch>.makeStream(
            bufferingPolicy: .bufferingNewest(Limits.batchOperations))
        broadcastListener?.finish()
        broadcastListener = continuation
        return stream
    }

    /// Ticks, and looks through the store, until the task is cancelled.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.scrub() }
            group.addTask { await self.tick() }
        }
    }

    private func tick() async {
        var ticks = 0
        while !Task.isCancelled {
            try? await Task.sleep(for: Replication.Timing.tick)  // cancelled: the loop ends
            if !links.isEmpty { step(.ticked) }
            ticks += 1
            // Not at every tick: it looks at every origin of every peer.
            if ticks % 50 == 0, let machine { metrics.record(machine) }
        }
    }

    // MARK: - Snapshots

    /// Takes a piece of a snapshot; pieces come in their order. Returns once there is room for the next.
    package func receivedSnapshot(_ batches: [OperationBatch], from peer: NodeID) async {
        failpoint("snapshot.apply")
        step(.snapshot(batches, from: peer))
        await waitForRoom()
    }

    /// - Parameter isWhole: false where it could not be had: this host asks for operations one batch after the other.
    package func snapshotEnded(from peer: NodeID, isWhole: Bool) {
        step(.snapshotEnded(from: peer, isWhole: isWhole))
    }

    // MARK: - Reports

    /// What this host's store holds.
    package var vector: VersionVector { machine?.vector ?? VersionVector() }

    /// SHA-256 over what the store holds, chains included: equal on hosts that hold the same.
    package var digest: [UInt8] { machine?.digest ?? [] }

    /// How far each linked peer and this host are apart.
    package var lags: [Replication.Lag] { machine?.lags ?? [] }

    /// Whether a snapshot is being fetched because this host is far behind.
    package var isFarBehind: Bool { machine?.isFetching ?? false }

    package var tally: Replication.Tally { machine?.tally ?? Replication.Tally() }

    /// The other hosts whose stores hold `dot`, as far as they have said.
    package func holders(of dot: Dot) -> [NodeID] { machine?.holders(of: dot) ?? [] }

    /// What every host has that was seen within `retention` (swarm.md §4), and since this start.
    package func stableCut(retention: Duration) -> VersionVector {
        let milliseconds = UInt64(clamping: retention.components.seconds).multipliedReportingOverflow(by: 1_000)
        let age = milliseconds.overflow ? UInt64.max : milliseconds.partialValue
        let now = wallClock()
        return machine?.stableCut(since: now > age ? now - age : 0) ?? VersionVector()
    }

    /// What happens from now on. A listener that does not keep up loses the oldest.
    package func notices() -> AsyncStream<LogNotice> {
        let (stream, continuation) = AsyncStream<LogNotice>.makeStream(bufferingPolicy: .bufferingNewest(1_024))
        listenerNumbers += 1
        let number = listenerNumbers
        listeners[number] = continuation
        continuation.onTermination = { _ in Task { await self.forget(number) } }
        return stream
    }

    private func forget(_ listener: Int) { listeners[listener] = nil }

    /// What was written since `number`, and the number to ask with next; nil operations where some have gone.
    func news(since number: UInt64) -> (operations: [Operation]?, next: UInt64) { (news.since(number), news.end) }

    // MARK: - The machine

    func step(_ event: Replication.Event) {
        let before = tally
        let effects = machine?.step(event, now: now, wallClock: wallClock(), queues: queues) ?? []
        metrics.count(tally, since: before)
        perform(effects)
    }

    /// In their order, also where performing one of them steps the machine again: a peer reads messages only in the
    /// order in which they were encoded.
    func perform(_ effects: [Replication.Effect]) {
        performing += effects
        guard performing.count == effects.count else { return }
        var next = 0
        while next < performing.count {
            let effect = performing[next]
            next += 1
            switch effect {
            case .send(let bytes, let peer):
                failpoint("batch.send")
                metrics.bytesSent.increment(by: bytes.count)
                links[peer]?.send(bytes)
            case .broadcast(let batch): broadcastListener?.yield(batch)
            case .commit(let write):
                if write.isOwn { isWriting(write) }
                accept(write)
            case .read(let read):
                Task { await self.read(read) }
            case .repair(let batch, let peer): Task { await self.repair(batch, from: peer) }
            case .fetchSnapshot(let peer): tell(.snapshotWanted(from: peer))
            case .notice(let notice): noticed(notice)
            }
        }
        performing = []
    }

    private func noticed(_ notice: Replication.Notice) {
        switch notice {
        case .acknowledged(let origin, let sequence, let peer):
            acknowledged(origin, upTo: sequence, by: peer)
            return
        case .diverged(let peer, let origin):
            log.error(
                "two hosts hold different operations under the same numbers",
                metadata: ["peer.id": "\(peer)", "origin": "\(origin.map { "\($0)" } ?? "unknown")"])
        case .equivocated(let proof):
            log.error(
                "a host signed two different streams: its identity is in use twice, or it is hostile",
                metadata: ["origin": "\(proof.origin)", "sequence": "\(proof.fork.sequence + 1)"])
        case .proven(let proof): Task { await self.publish(proof) }
        case .convicted: break
        case .rejected(let origin, let sequence, let peer):
            log.warning(
                "operations were not what their author signed; they were thrown away",
                metadata: ["peer.id": "\(peer)", "origin": "\(origin)", "sequence": "\(sequence)"])
        case .malformed(let peer, let reason):
            log.warning("a peer's message made no sense", metadata: ["peer.id": "\(peer)", "reason": "\(reason)"])
        case .abandonedEpoch(let origin):
            log.notice("this host goes on in a new epoch", metadata: ["origin.before": "\(origin)"])
        case .clockAhead(let node, let milliseconds):
            log.debug("a clock is ahead", metadata: ["peer.id": "\(node)", "clock.ms": "\(milliseconds)"])
        }
        tell(.replication(notice))
    }

    /// For all, and for good.
    private func publish(_ proof: EquivocationProof) async {
        let draft = OperationLog.Draft(
            kind: .equivocation, stream: EquivocationProof.stream, body: proof.encoded)
        do {
            _ = try await append(Entry(drafts: [draft]))
        } catch {
            log.warning(
                "the proof that a host signed two streams could not be written",
                metadata: ["origin": "\(proof.origin)", "error": "\(error)"])
        }
    }

    /// Whose two streams are proven.
    package var convicted: [Origin] { machine?.proofs.keys.sorted() ?? [] }

    private func tell(_ notice: LogNotice) {
        for (_, listener) in listeners.sorted(by: { $0.key < $1.key }) { listener.yield(notice) }
    }

    // MARK: - The store

    private func read(_ read: Replication.Read) async {
        // What cannot be read here is asked for elsewhere.
        let batch = try? await store.batch(of: read.origin, after: read.after)
        step(.read(read, batch))
    }

    /// The ledger sees the writes, and the store gets them, in the order in which they were accepted: an own turn may
    /// follow one that came before it from elsewhere, and must not be on disk without it.
    private func accept(_ write: Replication.Write) {
        accepted.append(write)
        unsettled[write.number] = write.operations.compactMap(Self.prefix(of:))
        guard !isPreparing else { return }
        isPreparing = true
        // The shell's own tasks: they end when the store has answered. Where nothing must be read first, the commit is
        // in the store's queue when this call returns.
        Task.immediate { await self.prepareAccepted() }
    }

    private func prepareAccepted() async {
        while !accepted.isEmpty {
            let write = accepted.removeFirst()
            let commit: Result<Commit, any Error>
            do {
                for stream in ledger.unknown(write.operations) { try await load(stream, for: write) }
                commit = .success(ledger.commit(write, prefixes: unsettled[write.number] ?? []))
            } catch {
                commit = .failure(error)
            }
            // It is handed over before the next one is looked at; nobody waits here for the disk.
            Task.immediate { await self.commit(write, commit) }
        }
        isPreparing = false
    }

    private func commit(_ write: Replication.Write, _ prepared: Result<Commit, any Error>) async {
        do {
            let commit = try prepared.get()
            let start = ContinuousClock.now
            if !write.isOwn { failpoint("batch.apply.before") }
            try await store.commit(commit)
            if !write.isOwn { failpoint("batch.apply.after") }
            metrics.commitSeconds.record(duration: ContinuousClock.now - start)
            metrics.written.increment(by: write.operations.count)
            ledger.settled(write.number)
            show(write, commit)
            // First: with the next step the next commit is prepared at once, and they need not wait for that.
            if write.isOwn { settle(write, .success(())) }
            step(.stored(write.number))
        } catch {
            await refused(write, error)
        }
        unsettled[write.number] = nil
        makeRoom()
        await mend()
    }

    /// Puts rows of conversations right that count what the store refused.
    func mend() async {
        guard !isMending else { return }
        isMending = true
        defer { isMending = false }
        // While one such commit is on its way more may be refused; and it may be long until somebody writes again.
        while ledger.mustMend {
            do {
                for stream in ledger.unknown([]) { try await loadIfReadable(stream, withHistory: false) }
                try await store.commit(ledger.mending())
                ledger.settled(0)
            } catch {
                ledger.refused(0)
                if (error as? RuntimeError)?.code == .unavailable { return }
                try? await Task.sleep(for: .seconds(1))  // nobody cancels it
            }
        }
    }

    /// How the history that ends with a turn is recognised, whichever host wrote it.
    static func prefix(of operation: Operation) -> PrefixMatch? {
        guard operation.kind == .userTurn || operation.kind == .assistantTurn, !operation.flags.contains(.erased)
        else { return nil }
        // A turn that cannot be read is not recognised.
        return (try? TurnCodec.decodeTurn(operation.body))?.history.map {
            PrefixMatch(prefix: $0, stream: operation.stream, dot: operation.dot)
        }
    }

    /// The streams of a write that came from others: one that is damaged here keeps its row, and the log goes on. A
    /// delete takes what can still be read of it.
    private func load(_ stream: StreamID, for write: Replication.Write) async throws {
        let removes = write.operations.contains { $0.stream == stream && $0.kind.removes }
        try await loadIfReadable(stream, withHistory: removes)
    }

    private func loadIfReadable(_ stream: StreamID, withHistory: Bool) async throws {
        do {
            try await load(stream, withHistory: withHistory)
        } catch let error as RuntimeError where error.code == .corrupt {
            hurryScrub()
            ledger.load(
                stream, withHistory ? try await store.remains(of: stream) : nil, withHistory: withHistory)
        }
    }

    private func refused(_ write: Replication.Write, _ error: any Error) async {
        metrics.failures.increment()
        let reason = error as? RuntimeError ?? RuntimeError(.system, "the store refused a commit", cause: error)
        log.error("the store refused operations", metadata: ["reason": "\(reason.message)", "own": "\(write.isOwn)"])
        ledger.refused(write.number)
        if write.isOwn { settle(write, .failure(reason)) }
        // Whether they reached the disk is not known: it is read where the store stands.
        var heads: [LogHead]?
        while heads == nil {
            heads = try? await store.recover().heads
            if heads == nil { try? await Task.sleep(for: .seconds(1)) }  // nobody cancels it
        }
        step(.refused(write.number, heads: heads ?? []))
        // What was to follow has gone with it.
        if write.isOwn { settle(write, .failure(reason)) }
    }

    private func show(_ write: Replication.Write, _ commit: Commit) {
        news.add(commit.operations)
        if !write.isOwn {
            let now = wallClock()
            for operation in write.operations where operation.timestamp.milliseconds <= now {
                let age = now - operation.timestamp.milliseconds
                // What a host catches up with says nothing about the network.
                if age < 60_000 { metrics.latency.recordMilliseconds(age) }
            }
        }
        guard !listeners.isEmpty else { return }
        if !commit.conversations.isEmpty { tell(.updated(commit.conversations)) }
        // Streams of notes have no row that could go.
        let notes = Set(commit.operations.lazy.filter { $0.kind.isNote }.map(\.stream))
        let removals = commit.removals.filter { !notes.contains($0) }
        if !removals.isEmpty { tell(.removed(removals)) }
    }

    // MARK: - Backpressure

    private func waitForRoom() async {
        while machine?.backlog ?? 0 > Limits.backlogBytes {
            await withCheckedContinuation { backlogged.append($0) }
        }
    }

    func makeRoom() {
        let waiting = backlogged
        backlogged = []
        for continuation in waiting { continuation.resume() }
    }
}
