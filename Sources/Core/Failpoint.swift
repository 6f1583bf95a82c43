#if DEBUG
    internal import Glibc
    internal import Synchronization
#endif

// Places at which a debug build can be told to die, to dawdle or to fail (docs/crash-safety.md). A release build has
// nothing of them: the bodies are empty there, and the names are never made.

#if DEBUG
    /// Passes the place of that name.
    package func failpoint(_ name: @autoclosure () -> StaticString) { Failpoint.pass(name()) }

    /// The same where an error may be thrown.
    package func failpointThrowing(_ name: @autoclosure () -> StaticString) throws(RuntimeError) {
        try Failpoint.tryToPass(name())
    }
#else
    @inlinable @inline(__always)
    package func failpoint(_ name: @autoclosure () -> StaticString) {}

    @inlinable @inline(__always)
    package func failpointThrowing(_ name: @autoclosure () -> StaticString) throws(RuntimeError) {}
#endif

#if DEBUG
    /// All places, so that a test can walk them.
    ///
    /// `IGRIS_FAILPOINTS=store.commit.before=kill@3,batch.send=sleep:50,store.flush.before=error` arms some of them, with
    /// `@n` at the n-th time they are passed (at each time, for `sleep`): `kill` ends the program as `kill -9` does, `sleep`
    /// waits so many milliseconds, `error` throws where the place can. `IGRIS_FAILPOINTS_LOG` names a file to which every
    /// place that is passed is written.
    package enum Failpoint: String, CaseIterable, Sendable {
        case answerEnd = "answer.end"
        case answerFirst = "answer.first"
        case auditAppendBefore = "audit.append.before"
        case auditAppendAfter = "audit.append.after"
        case backupChunk = "backup.chunk"
        case backupFinish = "backup.finish"
        case batchAcknowledge = "batch.acknowledge"
        case batchApplyBefore = "batch.apply.before"
        case batchApplyAfter = "batch.apply.after"
        case batchReceive = "batch.receive"
        case batchSend = "batch.send"
        case dataKeyInstallBefore = "datakey.install.before"
        case dataKeyInstallAfter = "datakey.install.after"
        case dataKeyUse = "datakey.use"
        case dataKeyRewrite = "datakey.rewrite"
        case dataKeyRetireBefore = "datakey.retire.before"
        case dataKeyRetireAfter = "datakey.retire.after"
        case drainBegin = "drain.begin"
        case engineSpawnBefore = "engine.spawn.before"
        case engineSpawnAfter = "engine.spawn.after"
        case engineExit = "engine.exit"
        case epochMarkBefore = "epochmark.save.before"
        case epochMarkAfter = "epochmark.save.after"
        case keyFileWrite = "keyfile.write"
        case keyFileNameBefore = "keyfile.name.before"
        case keyFileNameAfter = "keyfile.name.after"
        case logProposeBefore = "log.propose.before"
        case logProposeAfter = "log.propose.after"
        case logSettle = "log.settle"
        case modelCopy = "model.copy"
        case modelRegisterBefore = "model.register.before"
        case modelRegisterAfter = "model.register.after"
        case privateFileWrite = "privatefile.write"
        case privateFileRenameBefore = "privatefile.rename.before"
        case privateFileRenameAfter = "privatefile.rename.after"
        case restoreRenameBefore = "restore.rename.before"
        case restoreRenameAfter = "restore.rename.after"
        case ringSaveBefore = "ring.save.before"
        case ringSaveAfter = "ring.save.after"
        case rotationBegin = "rotation.begin"
        case snapshotApply = "snapshot.apply"
        case snapshotMake = "snapshot.make"
        case snapshotPart = "snapshot.part"
        case snapshotSend = "snapshot.send"
        case standbyBegin = "standby.begin"
        case standbyTakeUp = "standby.takeup"
        case storeOpen = "store.open"
        case storeMakeBefore = "store.make.before"
        case storeMakeAfter = "store.make.after"
        case storeRecoverBefore = "store.recover.before"
        case storeRecoverAfter = "store.recover.after"
        case storeBeginBefore = "store.begin.before"
        case storeBeginAfter = "store.begin.after"
        case storePutBefore = "store.put.before"
        case storePutAfter = "store.put.after"
        case storeCommitBefore = "store.commit.before"
        case storeCommitAfter = "store.commit.after"
        case storeFlushBefore = "store.flush.before"
        case storeFlushAfter = "store.flush.after"
        case storeCheckpointBefore = "store.checkpoint.before"
        case storeCheckpointAfter = "store.checkpoint.after"
        case storeEraseBefore = "store.erase.before"
        case storeEraseAfter = "store.erase.after"
        case storeGoodbye = "store.goodbye"
        case tokenIssueBefore = "token.issue.before"
        case tokenIssueAfter = "token.issue.after"
        case tokenRevokeBefore = "token.revoke.before"
        case tokenRevokeAfter = "token.revoke.after"

        enum Action: Equatable, Sendable {
            case kill
            case sleep(milliseconds: UInt32)
            case error
        }

        /// What one place is to do, and at which time; nil for each.
        struct Order: Equatable, Sendable {
            var action: Action
            var at: Int?
        }

        /// Nil for a text that says nothing that is known.
        static func orders(_ text: String) -> [Failpoint: Order]? {
            var orders: [Failpoint: Order] = [:]
            for part in text.split(separator: ",") {
                let sides = part.split(separator: "=", maxSplits: 1)
                guard sides.count == 2, let point = Failpoint(rawValue: String(sides[0])) else { return nil }
                let words = sides[1].split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
                guard let first = words.first else { return nil }
                let at = words.count == 2 ? Int(words[1]) : nil
                guard words.count == 1 || at != nil else { return nil }
                switch first {
                case "kill": orders[point] = Order(action: .kill, at: at ?? 1)
                case "error": orders[point] = Order(action: .error, at: at ?? 1)
                case _ where first.hasPrefix("sleep:"):
                    guard let milliseconds = UInt32(first.dropFirst(6)) else { return nil }
                    orders[point] = Order(action: .sleep(milliseconds: milliseconds), at: at)
                default: return nil
                }
            }
            return orders
        }

        private final class Plan: Sendable {
            let orders: [Failpoint: Order]
            let log: Int32?
            let passed = Mutex<[Failpoint: Int]>([:])

            init(orders: [Failpoint: Order], log: Int32?) {
                self.orders = orders
                self.log = log
            }
        }

        /// Read once.
        private static let plan: Plan? = {
            let text = getenv("IGRIS_FAILPOINTS").map { String(cString: $0) }
            let log = getenv("IGRIS_FAILPOINTS_LOG").map { open($0, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600) }
            guard text != nil || log != nil else { return nil }
            guard let orders = orders(text ?? "") else { fatalError("IGRIS_FAILPOINTS makes no sense") }
            return Plan(orders: orders, log: log)
        }()

        static func pass(_ name: StaticString) { _ = act(name) }

        static func tryToPass(_ name: StaticString) throws(RuntimeError) {
            if act(name) { throw RuntimeError(.system, "failpoint \(name)") }
        }

        /// Whether the place is to fail.
        private static func act(_ name: StaticString) -> Bool {
            guard plan != nil else { return false }
            guard let point = Failpoint(rawValue: "\(name)") else { fatalError("\(name) is no failpoint") }
            return point.act()
        }

        private func act() -> Bool {
            guard let order = Self.notePassing(of: self) else { return false }
            switch order.action {
            case .kill: kill(getpid(), SIGKILL)
            case .sleep(let milliseconds): usleep(milliseconds * 1_000)
            case .error: return true
            }
            return false
        }

        /// What is to be done this time.
        private static func notePassing(of point: Failpoint) -> Order? {
            guard let plan else { return nil }
            if let log = plan.log {
                let line = Array("\(point.rawValue)\n".utf8)
                _ = write(log, line, line.count)
            }
            let count = plan.passed.withLock { passed in
                passed[point, default: 0] += 1
                return passed[point] ?? 0
            }
            guard let order = plan.orders[point], order.at == nil || order.at == count else { return nil }
            return order
        }
    }
#endif
