import Core
import Cryptography

/// How a store's data keys stand.
package struct StoreKeyStatus: Hashable, Sendable {
    /// Of the key that seals.
    package var version: Int
    /// In seconds since 1970.
    package var made: UInt64
    /// Sealed with it.
    package var records: UInt64
    /// Data keys that are kept: one, unless older ones are being replaced.
    package var keys: Int
    /// Rows that may still need an older one.
    package var rowsLeft: UInt64
    /// Deleted contents of which older copies open as long as an older key is there.
    package var erasures: UInt64
}

/// The change of data keys (swarm.md §12): a fresh one seals from now on; every row of an older one is sealed anew, a few
/// at a time; then the older one is destroyed. What is on disk is at every moment enough to open all rows: the fresh key
/// is there before the first row that needs it, and the older one goes after the last.
extension StoreWriter {
    var keyStatus: StoreKeyStatus {
        StoreKeyStatus(
            version: Int(ring.current), made: keyMade, records: state.records, keys: ring.versions.count,
            rowsLeft: rewriting?.left(of: state.operations) ?? 0, erasures: state.erasures)
    }

    /// Changes the key where that is due.
    func keepKeys() {
        guard sealing != nil, log?.failure == nil else { return }
        // One after the other, unless the key itself has served its time.
        let schedule = KeySchedule(
            made: keyMade, records: state.records, erasures: rewriting == nil ? state.erasures : 0,
            operations: state.operations)
        guard schedule.isDue(at: environment.clock()) else { return }
        // Refused by a full disk, say: at the next look.
        try? rotateKey()
    }

    func rotateKey() throws(RuntimeError) {
        guard let sealing else {
            throw RuntimeError(.configuration, "a store in memory has one key, which goes with it (mcp.persist)")
        }
        if let failure = log?.failure { throw failure }
        try refreshIfStale()
        guard let version = ring.next else {
            throw RuntimeError(
                .unavailable, "too many older keys are still needed: damaged rows keep them (igris-runtime verify)")
        }
        let key: SymmetricKey
        do {
            key = try SymmetricKey(random: AESGCM.keyBytes)
        } catch {
            throw RuntimeError(.system, "no random bytes can be had for the store", cause: error)
        }
        let made = environment.clock()
        do {
            try database.run("BEGIN IMMEDIATE")
            try StoreFile.put(key, version: version, made: made, sealing, into: database)
            state.records = 0
            state.erasures = 0
            try write(state)
            failpoint("datakey.install.before")
            try database.run("COMMIT")
            failpoint("datakey.install.after")
        } catch {
            giveUp()
            throw error
        }
        hasLog = true
        failpoint("datakey.use")
        ring.use(key, version: version)
        keyMade = made
        rewriting = KeyRewriting()
    }

    /// Seals a few rows anew; after the last one destroys the older keys.
    func rewriteSome() {
        guard var progress = rewriting, log?.failure == nil else { return }
        do throws(RuntimeError) {
            try refreshIfStale()
            try database.run("BEGIN IMMEDIATE")
            if let table = progress.table { try rewrite(table, &progress) }
            failpoint("datakey.rewrite")
            try write(state)
            try database.run("COMMIT")
            hasLog = true
            rewriting = progress
            if progress.table == nil { try finishRewriting(progress) }
            rewritingRests = nil
        } catch {
            giveUp()
            // A full disk may have room again; nothing is lost by waiting.
            rewritingRests = ContinuousClock.now + Limits.storeRewritingPause
        }
    }

    /// Whether a step of it is to be taken now. While somebody reads for long the log would grow by the whole store.
    var wantsRewriting: Bool {
        guard rewriting != nil, longReads == 0 else { return false }
        return rewritingRests.map { ContinuousClock.now >= $0 } ?? true
    }

    private func rewrite(_ table: KeyRewriting.Table, _ progress: inout KeyRewriting) throws(RuntimeError) {
        var rows: [(id: Int64, record: [UInt8], first: Int64, second: Int64, node: [UInt8])] = []
        let columns =
            switch table {
            case .operations: "kind, stream, x''"
            case .origins: "epoch, 0, node"
            case .streams, .seals: "0, 0, x''"
            }
        let current = ring.current
        var seen = 0
        var bytes = 0
        try database.scan(
            "SELECT id, sealed, \(columns) FROM \(table.rawValue) WHERE id > ? ORDER BY id LIMIT ?",
            .integer(progress.last), .integer(Int64(Limits.storeRewrittenRows))
        ) { row in
            progress.last = row.integer(0)
            seen += 1
            let record = row.blob(1)
            if record.first != current {
                rows.append((row.integer(0), record, row.integer(2), row.integer(3), row.blob(4)))
                bytes += record.count
            }
            return bytes < Limits.storeRewrittenBytes
        }
        if table == .operations { progress.operations += UInt64(seen) }
        if seen == 0 { progress.goOn() }
        for row in rows {
            guard let version = row.record.first, ring.versions.contains(version) else { continue }
            guard let place = try place(table, row.id, row.first, row.second, row.node),
                let content = ring.open(row.record, as: place)
            else {
                progress.stuck += 1
                continue
            }
            state.records += 1
            try database.run(
                "UPDATE \(table.rawValue) SET sealed = ? WHERE id = ?", .blob(try ring.seal(content, as: place)),
                .integer(row.id))
        }
    }

    /// Nil where that cannot be told: a row that it hangs on is damaged.
    private func place(
        _ table: KeyRewriting.Table, _ id: Int64, _ first: Int64, _ second: Int64, _ node: [UInt8]
    ) throws(RuntimeError) -> RowPlace? {
        do {
            switch table {
            case .streams: return .stream(id)
            case .seals: return .seal(try reader.dot(at: id))
            case .origins:
                guard let node = Bytes16(node), let epoch = UInt32(exactly: first) else { return nil }
                return .origin(id, Origin(node: NodeID(node), epoch: epoch))
            case .operations:
                guard let kind = UInt8(exactly: first) else { return nil }
                return .operation(
                    try reader.dot(at: id), Operation.Kind(rawValue: kind), try reader.stream(at: second))
            }
        } catch {
            guard error.code == .corrupt else { throw error }
            return nil
        }
    }

    private func finishRewriting(_ progress: KeyRewriting) throws(RuntimeError) {
        guard progress.stuck == 0 else {
            // Damaged rows may be put right meanwhile: everything is looked at once more.
            rewriting = KeyRewriting()
            rewritingRests = ContinuousClock.now + Limits.storeRewritingRetry
            throw RuntimeError(.corrupt, "rows of older keys do not open")
        }
        let old = ring.versions.subtracting([ring.current])
        let fresh = try sealing.flatMap { sealing throws(RuntimeError) in try resealing?.begin(after: sealing) }
        try database.run("BEGIN IMMEDIATE")
        for version in old { try database.run("DELETE FROM keys WHERE version = ?", .integer(Int64(version))) }
        if let fresh {
            for (version, key) in try ring.all {
                try database.run(
                    "UPDATE keys SET proof = ?, wrapped = ? WHERE version = ?", .blob(fresh.check),
                    .blob(try fresh.wrap(key, version: version)), .integer(Int64(version)))
            }
        }
        failpoint("datakey.retire.before")
        try database.run("COMMIT")
        failpoint("datakey.retire.after")
        rewriting = nil
        destroyed.formUnion(old)
        if let fresh {
            sealing = fresh
            holdsOldAnchor = true
        }
        eraseLog()
    }
}

extension SQLiteContextStore {
    package func keyStatus() async throws -> StoreKeyStatus {
        try await threads.write { writer throws(RuntimeError) in writer.keyStatus }
    }

    /// Seals with a fresh data key from now on, and destroys the older ones once no row needs them.
    package func rotateKey() async throws -> StoreKeyStatus {
        try await threads.write { writer throws(RuntimeError) in
            try writer.rotateKey()
            return writer.keyStatus
        }
    }
}
