import Core
import Swarm

/// The writer's side of a host's shell: clients' turns into the log, the log onto the disk, and the word to the client.
extension World {
    // MARK: - Clients

    mutating func clientActs(_ host: Int) {
        guard healed == nil, !hosts[host].isForeign, !hosts[host].isEvicted else { return }
        let wish = workload.wish(&clients, at: now)
        let drafts = drafts(of: wish, at: host)
        guard !drafts.isEmpty else { return }
        if case .ask = wish {
            append(drafts, isQuestion: true, at: host)
        } else {
            append(drafts, isQuestion: false, at: host)
        }
    }

    private mutating func drafts(of wish: Workload.Wish, at host: Int) -> [OperationLog.Draft] {
        switch wish {
        case .ask(let stream):
            var drafts: [OperationLog.Draft] = []
            if hosts[host].disk.image.conversations[stream] == nil {
                let meta = ConversationMeta(id: Workload.id(of: stream), owner: .local)
                drafts.append(
                    OperationLog.Draft(
                        kind: .conversationMeta, stream: stream, dependencies: view(of: stream, at: host).deletes,
                        body: TurnCodec.encode(meta)))
            }
            let question = TurnCodec.encode(Workload.question(&clients))
            let heads = view(of: stream, at: host).nextDependencies
            drafts.append(OperationLog.Draft(kind: .userTurn, stream: stream, dependencies: heads, body: question))
            return drafts
        case .delete(let stream):
            guard hosts[host].disk.image.conversations[stream] != nil else { return [] }
            let heads = view(of: stream, at: host).nextDependencies
            return [OperationLog.Draft(kind: .delete, stream: stream, dependencies: heads, body: [])]
        }
    }

    mutating func answer(_ question: Question, at host: Int) {
        let body = TurnCodec.encode(Workload.answer(&clients))
        let draft = OperationLog.Draft(
            kind: .assistantTurn, stream: question.stream, dependencies: [question.dot], body: body)
        append([draft], isQuestion: false, at: host)
    }

    /// A conversation, as the cache of the real node keeps it: what is new is put in its place when somebody looks.
    mutating func view(of stream: StreamID, at host: Int) -> ConversationState {
        guard let process = hosts[host].process else { return ConversationState() }
        if var view = process.views.removeValue(forKey: stream) {
            view.state.apply(view.fresh)
            view.fresh = []
            process.views[stream] = view
            return view.state
        }
        let state = ConversationState(hosts[host].disk.image.operations(of: stream))
        process.views[stream] = HostProcess.View(state: state)
        return state
    }
}

/// What `LogWriter` does with the machine's effects.
extension World {
    mutating func replicate(_ event: Replication.Event, at host: Int) {
        guard let process = hosts[host].process else { return }
        let wall = hosts[host].clock.milliseconds(at: now)
        perform(
            process.replication.step(
                event, now: time(of: process, host), wallClock: wall, queues: queues(of: host, process)),
            at: host)
    }

    /// Numbers, signs and pushes (`LogWriter.append`); from here on the entry is under way.
    private mutating func append(_ entry: [OperationLog.Draft], isQuestion: Bool, at host: Int) {
        guard let process = hosts[host].process else { return }
        for stream in Set(entry.map(\.stream)).sorted() {
            let deletes = entry.contains { $0.stream == stream && $0.kind.removes }
            if !process.ledger.isLoaded(stream) || deletes {
                process.ledger.load(stream, hosts[host].disk.image.operations(of: stream), withHistory: deletes)
            }
        }
        var drafts = entry
        var previous: Dot?
        // The conversation's description is not part of its order.
        for index in drafts.indices where drafts[index].kind != .conversationMeta {
            if let previous { drafts[index].dependencies = [previous] }
            previous = process.replication.log.nextDot(after: index)
        }
        let wall = hosts[host].clock.milliseconds(at: now)
        do {
            let (operations, effects) = try process.replication.propose(
                drafts, now: time(of: process, host), wallClock: wall, queues: queues(of: host, process))
            guard operations.count == drafts.count, let last = operations.last else {
                return checker.violated(
                    "writer", "\(drafts.count) drafts became \(operations.count) operations", at: now)
            }
            checker.signed(operations)
            process.promises.append(
                Promise(dots: operations.map(\.dot), last: last.dot, stream: last.stream, isQuestion: isQuestion))
            perform(effects, at: host)
            if bug == .acknowledgedOnPush { keepPromises(at: host, wasSynced: false) { _ in true } }
        } catch {
            checker.violated("writer", "host \(host) cannot propose: \(error)", at: now)
        }
    }

    /// What waits on the links, where that is much.
    private func queues(of host: Int, _ process: HostProcess) -> [NodeID: Int] {
        guard network.isBusy else { return [:] }
        let end = hosts[host].end
        return process.adopted.mapValues { network.queuedBytes(from: end, over: $0) }
    }

    private mutating func perform(_ effects: [Replication.Effect], at host: Int) {
        for effect in effects {
            guard let process = hosts[host].process else { return }
            switch effect {
            case .send(let bytes, let node):
                guard let link = process.adopted[node], !isLost(bytes, to: node, process) else { continue }
                send(bytes, over: link, from: host)
            case .broadcast(let batch): tell(.published(OperationBatchCodec.encode(batch)), at: host)
            case .commit(let write): commit(write, at: host)
            case .read(let read):
                queue.add(.read(host: host, run: hosts[host].run, read), at: now + .microseconds(200))
            case .fetchSnapshot(let peer): fetchSnapshot(from: peer, at: host)
            // No row is ever damaged here.
            case .repair: break
            case .notice(let notice): noticed(notice, at: host)
            }
        }
    }

    private mutating func noticed(_ notice: Replication.Notice, at host: Int) {
        if trace.isRead || isNews(notice) {
            trace.note(15, UInt64(host), at: now, "host \(host): \(notice)")
        }
        switch notice {
        case .acknowledged(let origin, let sequence, _):
            let now = now
            hosts[host].process?.promises.removeAll { $0.end.map { $0 < now } ?? false }
            keepPromises(at: host, wasSynced: false) { $0.origin == origin && $0.sequence <= sequence }
        case .equivocated(let proof): checker.proved(proof.origin)
        case .diverged(let peer, let origin):
            if checker.contested.isEmpty {
                checker.violated("I11", "host \(host) and \(peer) diverge in \(origin as Any)", at: now)
            }
        case .rejected(let origin, let sequence, let peer):
            if checker.contested.isEmpty, !faults.contains(.forgery) {
                checker.violated("forged", "host \(host) takes \(peer) for a forger of \(origin) \(sequence)", at: now)
            }
        case .malformed(let peer, let why):
            checker.violated("wire", "host \(host) cannot read what \(peer) says: \(why)", at: now)
            if let link = hosts[host].process?.adopted[peer] { close(link, at: host) }
        case .proven(let proof):
            let draft = OperationLog.Draft(
                kind: .equivocation, stream: EquivocationProof.stream, body: proof.encoded)
            append([draft], isQuestion: false, at: host)
        case .clockAhead, .abandonedEpoch, .convicted: break
        }
    }

    private func isNews(_ notice: Replication.Notice) -> Bool {
        switch notice {
        case .acknowledged, .clockAhead: false
        default: true
        }
    }

    /// Tells the clients whose operations are safe now: two hosts, or one disk.
    private mutating func keepPromises(at host: Int, wasSynced: Bool, _ isSafe: (Dot) -> Bool) {
        guard let process = hosts[host].process else { return }
        for index in process.promises.indices {
            let promise = process.promises[index]
            guard !promise.isKept, isSafe(promise.last) else { continue }
            process.promises[index].isKept = true
            checker.acknowledge(promise.dots, by: host, wasSynced: wasSynced, at: now)
            guard promise.isQuestion else { continue }
            let question = Question(stream: promise.stream, dot: promise.last)
            queue.add(
                .answered(host: host, run: hosts[host].run, question), at: now + workload.generation(&clients))
        }
        process.promises.removeAll { $0.isKept }
    }

    // MARK: - Disk

    /// A disk writes one commit after the other.
    private mutating func commit(_ write: Replication.Write, at host: Int) {
        guard let process = hosts[host].process else { return }
        for stream in process.ledger.unknown(write.operations) {
            let hasDelete = write.operations.contains { $0.stream == stream && $0.kind.removes }
            process.ledger.load(stream, hosts[host].disk.image.operations(of: stream), withHistory: hasDelete)
        }
        var commit = process.ledger.commit(write)
        switch bug {
        case .appliedTwice: commit = process.ledger.commit(write)
        case .unsyncedTurns: commit.durability = .relaxed
        case .lostTombstone:
            commit.operations = write.operations
            commit.erasures = []
        default: break
        }
        submit(write, commit, as: write.number, at: host)
        guard bug == .storedBeforeDisk else { return }
        replicate(.stored(write.number), at: host)
        if write.isOwn { keepPromises(at: host, wasSynced: true) { write.heads.map(\.origin).contains($0.origin) } }
    }

    /// A disk takes commits in their order.
    private mutating func submit(_ write: Replication.Write?, _ commit: Commit, as number: UInt64, at host: Int) {
        guard let process = hosts[host].process else { return }
        // Without a sync it is the write-ahead log in memory that takes it.
        let typical = write?.isOwn == true ? hosts[host].diskDelay : min(hosts[host].diskDelay / 8, .milliseconds(20))
        process.diskFree = max(now, process.diskFree) + disks.tailed(typical)
        process.writes[number] = (write, commit, process.diskFree)
        queue.add(.committed(host: host, run: hosts[host].run, number: number), at: process.diskFree)
    }

    /// What a slow disk was still at, it has done once it is mended.
    mutating func hasten(_ host: Int) {
        guard let process = hosts[host].process else { return }
        for (number, _) in process.writes.sorted(by: { $0.value.due < $1.value.due }) {
            queue.add(.committed(host: host, run: hosts[host].run, number: number), at: now)
        }
        process.diskFree = now
    }

    mutating func committed(_ number: UInt64, at host: Int) {
        guard let process = hosts[host].process, let (write, commit, _) = process.writes.removeValue(forKey: number)
        else { return }
        defer { beginMending(host) }
        let isFull = hosts[host].isDiskFull
        trace.note(
            14, UInt64(host), number, isFull ? 1 : 0, at: now,
            "host \(host): write \(number) \(isFull ? "refused" : "stored") \(commit.heads.map { "\($0.origin.node.bytes.high % 997)/\($0.origin.epoch) \($0.sequence)" })"
        )
        // Of the refused ones half stand on the disk all the same.
        let isWritten = (!isFull || disks.hits(1, of: 2)) && put(commit, at: host)
        guard isWritten && !isFull || bug == .refusalIgnored else {
            process.ledger.refused(number)
            if disks.hits(1, of: 2) { hosts[host].disk.noteRefusal(of: commit, node: hosts[host].node) }
            guard let write else {
                return queue.add(.mend(host: host, run: hosts[host].run), at: now + .seconds(1))
            }
            queue.add(.reread(host: host, run: hosts[host].run, write), at: now + disks.tailed(.milliseconds(1)))
            return
        }
        process.ledger.settled(number)
        guard let write else { return mend(host) }
        replicate(.stored(number), at: host)
        guard write.isOwn else { return }
        keepPromises(at: host, wasSynced: true) { last in
            write.heads.contains { $0.origin == last.origin && $0.sequence >= last.sequence }
        }
    }

    /// What a peer asked for, off the disk.
    mutating func read(_ read: Replication.Read, at host: Int) {
        if bug == .lostReads, disks.hits(1, of: 3) { return }
        let after = bug == .offByOne ? read.after + 1 : read.after
        var batch = hosts[host].disk.image.batch(of: read.origin, after: after)
        if faults.contains(.forgery), host == 0, read.origin.node != hosts[host].node {
            batch?.operations[0].timestamp = HybridTimestamp(rawValue: 42)
        }
        replicate(.read(read, batch), at: host)
    }

    private func isLost(_ bytes: [UInt8], to node: NodeID, _ process: HostProcess) -> Bool {
        // The second byte is the message's type; 3 is the vector.
        guard bug == .lostVector, bytes.count > 2, bytes[1] == 3 else { return false }
        return process.greeted.insert(node).inserted
    }

    /// The number of the write that puts rows of conversations right.
    private static let mending: UInt64 = 0

    private mutating func beginMending(_ host: Int) {
        guard let process = hosts[host].process, !process.isMending else { return }
        process.isMending = true
        mend(host)
    }

    /// Puts rows of conversations right that count what the disk refused.
    mutating func mend(_ host: Int) {
        guard let process = hosts[host].process else { return }
        process.isMending = process.ledger.mustMend
        guard process.isMending else { return }
        for stream in process.ledger.unknown([]) {
            process.ledger.load(stream, hosts[host].disk.image.operations(of: stream))
        }
        submit(nil, process.ledger.mending(), as: Self.mending, at: host)
    }

    /// Whether what was refused reached the disk is not known: it is read where the store stands.
    mutating func reread(_ write: Replication.Write, at host: Int) {
        guard !hosts[host].isDiskFull || disks.hits(1, of: 2) else {
            return queue.add(.reread(host: host, run: hosts[host].run, write), at: now + .seconds(1))
        }
        let heads = hosts[host].disk.image.heads.values.sorted { $0.origin < $1.origin }
        defer { beginMending(host) }
        replicate(.refused(write.number, heads: heads), at: host)
        guard write.isOwn, let process = hosts[host].process else { return }
        let origins = Set(write.operations.map(\.dot.origin))
        // Peers may have it all the same: they have two seconds to say so.
        let limit = now + .seconds(2)
        for index in process.promises.indices where origins.contains(process.promises[index].last.origin) {
            process.promises[index].end = process.promises[index].end ?? limit
        }
        process.promises.removeAll { $0.end.map { $0 < now } ?? false }
    }

    /// The writes of a killed process that were on their way: some were in time.
    mutating func abandonWrites(at host: Int) {
        guard let process = hosts[host].process else { return }
        for number in process.writes.keys.sorted() {
            guard let (_, commit, _) = process.writes[number], disks.hits(1, of: 2) else { return }
            _ = put(commit, at: host)
        }
    }

    /// False when the store refuses it: it would leave a gap, or repeat what is there.
    private mutating func put(_ commit: Commit, at host: Int) -> Bool {
        guard hosts[host].disk.write(commit) else {
            // After a refusal that was none, the machine may not know what is there.
            if !faults.contains(.fullDisks) {
                checker.violated("I10", "host \(host) writes with a gap: \(commit.heads)", at: now)
            }
            return false
        }
        checker.stored(commit.heads, by: host)
        guard let process = hosts[host].process else { return true }
        for dot in commit.erasures {
            // What a conversation in use shows of it goes with its next reading.
            if let stream = hosts[host].disk.image[dot]?.stream { process.views[stream] = nil }
        }
        for operation in commit.operations {
            process.views[operation.stream]?.fresh.append(operation)
        }
        return true
    }
}
