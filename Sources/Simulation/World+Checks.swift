import Core
import Swarm

/// The invariants of swarm.md §13, looked at from outside: nothing here changes what happens.
extension World {
    /// From the healing until all logs are equal, at the most (I12).
    private static let recoveryBound = Duration.seconds(5)

    /// Where disks tell the truth and nobody is copied, no dot ever has two contents.
    private var mayContest: Bool { !faults.isDisjoint(with: [.rollbacks, .clones]) }

    private var members: [Int] { hosts.indices.filter { hosts[$0].isMember } }

    mutating func check() {
        compare()
        checkEviction()
        guard healed != nil else { return }
        if isRecovered { checker.recovered(at: now) } else { checker.unrecovered() }
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

    // MARK: - The end

    mutating func finish() {
        guard let healed else { return }
        // Who is shut out keeps what it writes for itself.
        for host in hosts where host.isEvicted {
            checker.forgave(host.disk.image.operations.values.joined().map(\.dot))
        }
        compare()
        let isContested = !checker.contested.isEmpty
        if let origin = checker.contested.min(), !mayContest {
            checker.violated("I9", "\(origin) has two contents", at: now)
        }
        for origin in checker.contested.subtracting(checker.proven).sorted() {
            checker.violated("I9", "\(origin) has two contents and nobody holds the proof", at: now)
        }
        if let recovered = checker.recovered {
            if recovered - healed > Self.recoveryBound, !isContested {
                let milliseconds = Int((recovered - healed) / .milliseconds(1))
                checker.violated("I12", "the logs were equal \(milliseconds) ms after the healing", at: now)
            }
        } else if !isContested {
            checker.violated("I12", "the logs never became equal: \(differences)", at: now)
        }
        if !isContested, checker.recovered != nil { compareViews() }
        checkDeletions()
        checkAcknowledged()
        checkMembership()
        if members.count > meshLimit { checkOverlay() } else { checkLinks() }
        checkRotation()
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

    /// I11: the same conversations, in the same order, with the same rows.
    private mutating func compareViews() {
        guard let first = members.first else { return }
        let image = hosts[first].disk.image
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
            for stream in image.streams.keys.sorted() {
                let (left, right) = (readView(stream, at: first), readView(stream, at: host))
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

    /// I13: a host that holds the deletion shows nothing of the conversation that does not follow from it.
    private mutating func checkDeletions() {
        for host in hosts.indices where !hosts[host].isForeign {
            let image = hosts[host].disk.image
            for stream in image.streams.keys.sorted() {
                let operations = image.operations(of: stream)
                for deletion in operations where deletion.kind == .delete {
                    let survivors = Self.descendants(of: deletion.dot, in: operations)
                    for operation in operations
                    where operation.kind != .delete && !operation.body.isEmpty && !operation.flags.contains(.erased)
                        && !survivors.contains(operation.dot)
                    {
                        checker.violated(
                            "I13", "host \(host) still shows \(operation.dot), which \(deletion.dot) deleted", at: now)
                    }
                }
            }
        }
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
