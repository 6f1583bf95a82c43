package import Core
internal import Cryptography
internal import Logging
internal import Metrics
internal import Swarm

/// Damage in the store: all rows are looked at after the start and then slowly, again and again; what is damaged is
/// named, asked for from a peer, proven by its origin's chain and put right.
extension LogWriter {
    enum Scrub {
        /// Rows that are looked at without a pause: some 20 ms of one reader's thread.
        static let rows = 2_048
        /// Between two such parts, once the start's look is over.
        static let pause = Duration.seconds(2)
        /// Between two looks.
        static let rest = Duration.seconds(30)
        /// So long after a repair everything is looked at again.
        static let afterRepair = Duration.milliseconds(500)
    }

    /// Looks at the store until the task is cancelled.
    func scrub() async {
        var isHurried = true
        while !Task.isCancelled {
            let isSound = await scrubOnce(isHurried: isHurried)
            isHurried = false
            await rest(isSound || damage.isEmpty ? Scrub.rest : Scrub.rest / 3)
            isHurried = damageWasTouched
        }
    }

    /// Somebody has met damage, or some was put right: the next look begins now.
    func hurryScrub() {
        damageWasTouched = true
        resting?.cancel()
    }

    private func rest(_ duration: Duration) async {
        guard !damageWasTouched else { return }
        let task = Task { try? await Task.sleep(for: duration) }  // cancelled: somebody hurries, or the run ends
        resting = task
        await withTaskCancellationHandler {
            _ = await task.value
        } onCancel: {
            task.cancel()
        }
        resting = nil
    }

    /// One look at all rows, after the one that is at work. Returns whether they are as they were written.
    @discardableResult
    private func scrubOnce(isHurried: Bool, _ each: (ScrubbedRows) -> Void = { _ in }) async -> Bool {
        damageWasTouched = isScrubbing
        while isScrubbing { await withCheckedContinuation { waitingForScrub.append($0) } }
        isScrubbing = true
        defer {
            isScrubbing = false
            let waiting = waitingForScrub
            waitingForScrub = []
            for continuation in waiting { continuation.resume() }
        }
        damageWasTouched = false
        var found: Set<Dot> = []
        var place: Dot?
        repeat {
            do {
                let rows = try await store.scrub(after: place, rows: Scrub.rows)
                found.formUnion(rows.damaged.map(\.dot))
                name(damage.note(rows.damaged))
                each(rows)
                place = rows.next
            } catch {
                // The store as a whole cannot be read: readiness says so.
                log.debug("the store could not be looked through", metadata: ["error": "\(error)"])
                return false
            }
            if place != nil, !isHurried, !damageWasTouched {
                try? await Task.sleep(for: Scrub.pause)  // cancelled: the run ends
                if Task.isCancelled { return false }
            }
        } while place != nil
        damage.found(found)
        metrics.damaged.record(damage.operations.count)
        metrics.scrubs.increment()
        if damage.isEmpty { await recount() } else { askForDamaged() }
        return damage.isEmpty
    }

    private func name(_ news: [ScrubbedRows.Damaged]) {
        guard !news.isEmpty else { return }
        for one in news.prefix(16) {
            log.error(
                "an operation in the store was damaged or taken away",
                metadata: [
                    "operation": "\(one.dot)", "conversation.stream": "\(one.stream.map { "\($0)" } ?? "unknown")",
                ])
        }
        if news.count > 16 {
            log.error("more operations are damaged", metadata: ["operations": "\(news.count - 16)"])
        }
    }

    // MARK: - Repair

    /// Asks for the first damaged operation of each origin: the chain can be followed up to it.
    private func askForDamaged() {
        for dot in damage.next() {
            // The shell's own task: it ends when the store has been read.
            Task { await self.ask(for: dot, except: []) }
        }
    }

    private func ask(for dot: Dot, except: Set<NodeID>) async {
        do {
            var head = damage.chains[dot.origin] ?? LogHead(origin: dot.origin, sequence: 0, chain: .empty)
            if head.sequence >= dot.sequence { head = LogHead(origin: dot.origin, sequence: 0, chain: .empty) }
            while head.sequence < dot.sequence - 1 {
                let limit = min(Scrub.rows, Int(clamping: dot.sequence - 1 - head.sequence))
                let operations = try await store.operations(of: dot.origin, after: head.sequence, limit: limit)
                guard let last = operations.last else {
                    throw RuntimeError(.corrupt, "operations before \(dot) are missing")
                }
                head.chain = operations.reduce(head.chain, OperationLog.chain)
                head.sequence = last.dot.sequence
            }
            damage.chains[dot.origin] = head
            step(.damaged(dot.origin, after: head.sequence, except: except))
        } catch {
            // The next look begins anew.
            log.debug("a chain could not be followed", metadata: ["operation": "\(dot)", "error": "\(error)"])
        }
    }

    /// A peer's copy: only what its author signed is put in place.
    func repair(_ batch: OperationBatch, from peer: NodeID) async {
        guard let first = batch.operations.first?.dot, let head = damage.chains[batch.origin],
            head.sequence + 1 == first.sequence
        else { return }
        let chain = batch.operations.reduce(head.chain, OperationLog.chain)
        guard seals.vouches(batch.seal, for: chain) else {
            log.warning(
                "a peer's copy of a damaged operation is not what its author signed; it was thrown away",
                metadata: ["peer.id": "\(peer)", "operation": "\(first)"])
            return step(.damaged(batch.origin, after: head.sequence, except: [peer]))
        }
        do {
            let repaired = try await store.repair(batch.operations)
            let dots = Set(repaired)
            let operations = batch.operations.filter { dots.contains($0.dot) }
            damage.mended(repaired)
            damage.touched.formUnion(operations.map(\.stream))
            damage.took(batch.origin, upTo: batch.seal.sequence)
            damage.chains[batch.origin] = LogHead(origin: batch.origin, sequence: batch.seal.sequence, chain: chain)
            metrics.repaired.increment(by: repaired.count)
            metrics.damaged.record(damage.operations.count)
            for operation in operations.prefix(16) {
                log.notice(
                    "a damaged operation was put right from a peer's copy",
                    metadata: [
                        "operation": "\(operation.dot)", "conversation.stream": "\(operation.stream)",
                        "peer.id": "\(peer)",
                    ])
            }
            // The hashes by which histories are recognised went with the rows.
            let prefixes = operations.compactMap(Self.prefix(of:))
            if !prefixes.isEmpty { try await store.commit(Commit(prefixes: prefixes, durability: .relaxed)) }
        } catch {
            log.error("damage in the store could not be repaired", metadata: ["error": "\(error)"])
            return
        }
        if damage.isEmpty { hurryScrub() } else { askForDamaged() }
    }

    /// All operations are there: the rows that follow from them are put right as well.
    private func recount() async {
        do {
            damage.touched.formUnion(try await store.recount())
        } catch {
            log.error("conversations could not be counted afresh", metadata: ["error": "\(error)"])
        }
        guard !damage.touched.isEmpty else { return }
        ledger.suspect(damage.touched)
        news.forget()
        damage.touched = []
        await mend()
    }

    // MARK: - Reports

    /// How many operations are damaged, in which conversations, as far as is known.
    package var damageReport: (operations: Int, streams: [StreamID]) { (damage.operations.count, damage.streams) }

    /// Looks at everything now, and gives the peers so long to bring what is damaged.
    package func verify(patience: Duration) async -> StoreVerification {
        var seen: [ScrubbedRows.Damaged] = damage.operations.map { ScrubbedRows.Damaged(dot: $0.key, stream: $0.value) }
        await scrubOnce(isHurried: true) { rows in
            for one in rows.damaged where !seen.contains(where: { $0.dot == one.dot }) { seen.append(one) }
        }
        let deadline = ContinuousClock.now + patience
        while !damage.isEmpty, !links.isEmpty, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20))  // cancelled: it is asked once more and ends
            if Task.isCancelled { break }
        }
        // What was put right tells now which conversation it belongs to.
        var streams: [StreamID: StreamDigest] = [:]
        var places: [Dot: StreamID] = [:]
        let dots = Set(seen.map(\.dot))
        await scrubOnce(isHurried: true) { rows in
            for row in rows.sound {
                Self.add(row, to: &streams)
                if dots.contains(row.dot) { places[row.dot] = row.stream }
            }
        }
        var findings: [StoreVerification.Finding] = []
        for one in seen.sorted(by: { $0.dot < $1.dot }) {
            let stream = places[one.dot] ?? one.stream
            // Of a row that no longer opens the name is not known.
            let header = if let stream { try? await row(of: stream) } else { nil as ConversationHeader? }
            findings.append(
                StoreVerification.Finding(
                    operation: one.dot, stream: stream, conversation: header?.id,
                    isRepaired: places[one.dot] != nil))
        }
        return StoreVerification(findings: findings, streams: streams)
    }

    /// The digests of all conversations, for a peer that compares.
    package func streamDigests() async throws -> [StreamID: StreamDigest] {
        var streams: [StreamID: StreamDigest] = [:]
        var place: Dot?
        repeat {
            let rows = try await store.scrub(after: place, rows: Scrub.rows)
            for row in rows.sound { Self.add(row, to: &streams) }
            place = rows.next
        } while place != nil
        return streams
    }

    private static func add(_ row: ScrubbedRows.Sound, to streams: inout [StreamID: StreamDigest]) {
        var writer = ByteWriter()
        writer.put(row.dot)
        writer.put(raw: row.hash)
        streams[row.stream, default: StreamDigest()].add(SHA256.hash(writer.bytes))
    }
}
