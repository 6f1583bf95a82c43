import Core
import Swarm

/// The invariants of swarm.md §13, looked at from outside: nothing here changes what happens.
extension World {
    /// From the healing until all logs are equal, at the most (I12).
    private static let recoveryBound = Duration.seconds(5)
    /// Every ten seconds, give or take one.
    private static let announcement = Duration.seconds(11)

    /// Where disks tell the truth and nobody is copied, no dot ever has two contents.
    private var mayContest: Bool { !faults.isDisjoint(with: [.rollbacks, .clones]) }

    private var members: [Int] { hosts.indices.filter { hosts[$0].isMember } }

    mutating func check() {
        compare()
        checkEviction()
        // Every second, also where the rest is looked at more often.
        if healed.map({ (now - $0) / .seconds(1) }).map({ $0 == $0.rounded() }) != false { checkFootprints() }
        guard healed != nil else { return }
        if isRecovered { return checker.recovered(at: now) }
        // Who has met no other since it started is found with the next announcement.
        if let healed, now - healed < Self.announcement,
            members.contains(where: { hosts[$0].process?.hasMet != true })
        {
            return
        }
        checker.unrecovered(at: now)
    }

    /// All members hold the same, and no write is on its way.
    private var isRecovered: Bool {
        guard let first = members.first else { return true }
        let vector = hosts[first].disk.image.vector
        return members.allSatisfy {
            hosts[$0].process?.isWriting == false && hosts[$0].disk.image.vector == vector
        }
    }

    /// I10: the machine's vector is the disk's. I11: hosts that hold the same operations hold the same state.
    private mutating func compare() {
        var twins: [VersionVector: Int] = [:]
        for host in members {
            let vector = hosts[host].disk.image.vector
            guard let twin = twins[vector] else {
                twins[vector] = host
                continue
            }
            guard checker.contested.isEmpty else { continue }
            if hosts[host].disk.image.heads != hosts[twin].disk.image.heads {
                checker.violated("I11", "hosts \(twin) and \(host) hold equal vectors and different chains", at: now)
            }
        }
    }

    /// I20: nothing that a machine keeps is above its bound, and at the end nothing passing is left.
    private mutating func checkFootprints(isQuiet: Bool = false) {
        for host in hosts.indices {
            guard let process = hosts[host].process else { continue }
            for part in process.replication.footprint + process.membership.footprint + process.mesh.footprint {
                let limit = isQuiet && part.isPassing && hosts[host].isMember ? 0 : part.limit
                guard part.size > limit else { continue }
                checker.violated("I20", "host \(host) keeps \(part.size) of at most \(limit) \(part.name)", at: now)
            }
            for (node, link) in process.adopted {
                let bytes = network.queuedBytes(from: hosts[host].end, over: link)
                guard bytes > Limits.linkQueueBytes + Limits.linkMessageBytes else { continue }
                checker.violated("I20", "host \(host) has \(bytes) bytes waiting for \(node)", at: now)
            }
        }
    }

    // MARK: - The end

    mutating func finish() {
        guard healed != nil else { return }
        // Who is shut out keeps what it writes for itself.
        for host in hosts where host.isEvicted {
            checker.forgave(host.disk.image.operations.values.joined().map(\.dot))
        }
        compare()
        let isContested = !checker.contested.isEmpty
        if let origin = checker.contested.min(), !mayContest {
            checker.violated("I9", "\(origin) has two contents", at: now)
        }
        for origin in checker.contested.subtracting(checker.proven).sorted() where isSeenDouble(origin) {
            checker.violated("I9", "\(origin) has two contents and nobody holds the proof", at: now)
        }
        if checker.recovered != nil {
            if checker.longestUnequal > Self.recoveryBound, !isContested {
                let milliseconds = Int(checker.longestUnequal / .milliseconds(1))
                checker.violated("I12", "the logs were unequal for \(milliseconds) ms after the healing", at: now)
            }
        } else if !isContested {
            checker.violated("I12", "the logs never became equal: \(differences)", at: now)
        }
        for host in members { checkRows(at: host) }
        checkFootprints(isQuiet: !isContested && checker.recovered.map { now - $0 > Self.recoveryBound } == true)
        if !isContested, checker.recovered != nil { compareViews() }
        checkDeletions()
        checkAcknowledged()
        checkMembership()
        if members.count > meshLimit { checkOverlay() } else { checkLinks() }
        checkRotation()
    }

    /// Whether two members hold different contents under one dot. Where the other content went with the only disk
    /// that held it, nobody is left who could prove that it was.
    private func isSeenDouble(_ origin: Origin) -> Bool {
        var contents: [Dot: [UInt8]] = [:]
        for host in members {
            for operation in hosts[host].disk.image.operations[origin] ?? [] {
                let content = OperationLog.contentHash(of: operation)
                if contents.updateValue(content, forKey: operation.dot) ?? content != content { return true }
            }
        }
        return false
    }

    /// What tells the hosts' logs apart, for a reader.
    private var differences: String {
        var all = VersionVector()
        for host in members { all.merge(hosts[host].disk.image.vector) }
        return members.compactMap { host in
            let vector = hosts[host].disk.image.vector
            let lacking = all.entries.filter { vector[$0.origin] < $0.sequence }
            guard !lacking.isEmpty || hosts[host].process?.isWriting != false else { return nil }
            let list = lacking.map { entry in
                let author = hosts.first { $0.node == entry.origin.node && $0.isMember }?.index ?? -1
                return "\(author)/\(entry.origin.epoch) \(vector[entry.origin])<\(entry.sequence)"
            }
            let writing = hosts[host].process?.isWriting == true ? " (writing)" : ""
            return "host \(host)\(writing) \(list.joined(separator: ", "))"
        }.joined(separator: "; ")
    }

    /// I11: each row is what follows from the operations that the host holds.
    private mutating func checkRows(at host: Int) {
        let image = hosts[host].disk.image
        for stream in image.streams.keys.sorted() {
            let operations = image.operations(of: stream)
            let history = StreamHistory(operations)
            let due = ConversationLedger.header(of: operations.filter { history.isVisible($0.dot) })
            let row = image.conversations[stream]
            guard row != due else { continue }
            for dot in trace.isRead ? image.streams[stream] ?? [] : [] {
                guard let operation = image[dot] else { continue }
                let mark = history.isVisible(dot) ? "" : "hidden "
                trace.note(
                    17, UInt64(host), dot.sequence, at: now,
                    "host \(host) holds \(mark)\(dot) kind \(operation.kind.rawValue) flags \(operation.flags.rawValue) after \(operation.dependencies)"
                )
            }
            checker.violated(
                "I11",
                "host \(host)'s row of \(stream) is \(row.map { "\($0)" } ?? "none"), and its operations make "
                    + "\(due.map { "\($0)" } ?? "none")", at: now)
        }
    }

    /// I11: the same conversations, in the same order, with the same rows.
    private mutating func compareViews() {
        guard let first = members.first else { return }
        let image = hosts[first].disk.image
        let streams = image.streams.keys.sorted()
        var views: [StreamID: ConversationState] = [:]
        for host in members.dropFirst() {
            let other = hosts[host].disk.image
            if other.conversations != image.conversations {
                let streams = Set(image.conversations.keys).union(other.conversations.keys).sorted()
                let differing = streams.first { image.conversations[$0] != other.conversations[$0] }
                let (left, right) = (
                    differing.flatMap { image.conversations[$0] }, differing.flatMap { other.conversations[$0] }
                )
                checker.violated(
                    "I11",
                    "rows of a conversation differ between hosts \(first) and \(host): "
                        + "\(left.map { "\($0)" } ?? "none") and \(right.map { "\($0)" } ?? "none")", at: now)
            }
            // Equal chains are equal operations, but for what was erased.
            if bug == nil, other.heads == image.heads, !faults.contains(.deletions) { continue }
            for stream in streams {
                // Read from the same operations it is the same.
                if bug == nil, image.operations(of: stream) == other.operations(of: stream) { continue }
                let left = views[stream] ?? readView(stream, at: first)
                views[stream] = left
                let right = readView(stream, at: host)
                if left.dots != right.dots || left.heads != right.heads
                    || left.transcript.exchanges != right.transcript.exchanges
                {
                    checker.violated(
                        "I11", "\(stream) reads differently on hosts \(first) and \(host)", at: now)
                }
            }
        }
    }

    /// As a host reads it after a start.
    private func readView(_ stream: StreamID, at host: Int) -> ConversationState {
        var operations = hosts[host].disk.image.operations(of: stream)
        if bug == .ignoredDependencies, host % 2 == 1 {
            for index in operations.indices { operations[index].dependencies = [] }
        }
        return ConversationState(operations)
    }

    /// I13: a host that holds the deletion shows nothing of the conversation that does not follow from it, and keeps
    /// nothing of it. Kept, not shown, is what follows an operation that no member has any more: nobody can tell
    /// whether that followed the deletion.
    private mutating func checkDeletions() {
        guard faults.contains(.deletions) || bug != nil else { return }
        for host in members {
            let image = hosts[host].disk.image
            for stream in image.deleted {
                let operations = image.operations(of: stream)
                let deletions = operations.filter { $0.kind == .delete }
                let shown = Set(readView(stream, at: host).dots)
                // Of a contested origin another stream's operation may stand here under the dot.
                let present = Set(operations.map(\.dot))
                let rootless = operations.filter { operation in
                    operation.dependencies.contains { !present.contains($0) && !isHeld($0) }
                }
                let unclear = rootless.reduce(into: Set<Dot>()) {
                    $0.formUnion(Self.descendants(of: $1.dot, in: operations))
                }
                for deletion in deletions {
                    let survivors = Self.descendants(of: deletion.dot, in: operations)
                    for operation in operations
                    where operation.kind != .delete && !operation.body.isEmpty && !operation.flags.contains(.erased)
                        && !survivors.contains(operation.dot)
                        && (shown.contains(operation.dot) || !unclear.contains(operation.dot))
                    {
                        let verb = shown.contains(operation.dot) ? "shows" : "keeps"
                        checker.violated(
                            "I13", "host \(host) still \(verb) \(operation.dot), which \(deletion.dot) deleted", at: now
                        )
                    }
                }
            }
        }
    }

    /// Whether a member has it and the others may still get it.
    private func isHeld(_ dot: Dot) -> Bool {
        !checker.contested.contains(dot.origin) && members.contains { hosts[$0].disk.image[dot] != nil }
    }

    private static func descendants(of dot: Dot, in operations: [Operation]) -> Set<Dot> {
        var found: Set<Dot> = [dot]
        var count = 0
        while count != found.count {
            count = found.count
            for operation in operations where operation.dependencies.contains(where: found.contains) {
                found.insert(operation.dot)
            }
        }
        return found
    }

    /// I14: what a client was told is kept is on every host.
    private mutating func checkAcknowledged() {
        guard checker.recovered != nil else { return }
        for dot in checker.acknowledged.keys.sorted() where checker.mustSurvive(dot) {
            for host in members where hosts[host].disk.image[dot] == nil {
                let time = checker.acknowledged[dot].map { Int($0.at / .milliseconds(1)) } ?? 0
                checker.violated("I14", "host \(host) does not hold \(dot), acknowledged at \(time) ms", at: now)
            }
        }
    }

    /// I18: whoever lives is alive for everyone.
    private mutating func checkMembership() {
        for host in members {
            guard let process = hosts[host].process else { continue }
            for other in members where other != host {
                let state = process.membership.members.first { $0.node == hosts[other].node }?.state
                if state != .alive {
                    checker.violated(
                        "I18", "host \(host) holds host \(other) for \(state?.rawValue ?? "unheard of")", at: now)
                }
            }
        }
    }

    /// One link for each pair, and both sides use the same one.
    private mutating func checkLinks() {
        for host in members {
            for other in members where other > host {
                let ours = hosts[host].process?.adopted[hosts[other].node]
                let theirs = hosts[other].process?.adopted[hosts[host].node]
                if ours == nil || ours != theirs {
                    checker.violated(
                        "links", "hosts \(host) and \(other) use \(ours as Any) and \(theirs as Any)", at: now)
                }
                let open = network.connections(between: hosts[host].end, hosts[other].end)
                if open.count > 1 {
                    checker.violated("links", "hosts \(host) and \(other) keep \(open.count) links", at: now)
                }
            }
        }
    }
}
