import Core
import Swarm

extension Disk.Image {
    /// The log as a snapshot carries it: sealed batches, each after what it depends on where that can be.
    func snapshot() -> [OperationBatch] {
        var batches: [OperationBatch] = []
        var done = VersionVector()
        let origins = operations.keys.sorted()
        /// Only the parts of batches that a store has joined can wait for one another.
        var isForced = false
        while true {
            var progressed = false
            for origin in origins {
                while let batch = batch(of: origin, after: done[origin]),
                    isForced
                        || batch.operations.allSatisfy({ operation in
                            operation.dependencies.allSatisfy { $0.origin == origin || done.contains($0) }
                        })
                {
                    batches.append(batch)
                    done[origin] = batch.seal.sequence
                    progressed = true
                    isForced = false
                }
            }
            if progressed { continue }
            guard !isForced else { return batches }
            isForced = true
        }
    }
}

/// A snapshot on its way from one host to another, over a connection of its own.
extension World {
    struct SnapshotTransfer {
        var peer: NodeID
        /// The sender, and which of its starts.
        var source: Network.End
        var rest: ArraySlice<OperationBatch>
    }

    /// What a part of 256 KiB holds, and how long it takes.
    private static let batchesPerPart = 64
    private static let partTime = Duration.milliseconds(15)

    mutating func fetchSnapshot(from peer: NodeID, at host: Int) {
        guard let source = hosts.first(where: { $0.node == peer && $0.power == .running && $0.index != host }),
            hosts[host].process?.transfer == nil
        else {
            // Not at once: the effects of the step that asked for it are being performed.
            return queue.add(.snapshotFailed(host: host, run: hosts[host].run, from: peer), at: now + Self.partTime)
        }
        let batches = source.disk.image.snapshot()
        trace.note(
            16, UInt64(host), UInt64(source.index), UInt64(batches.count), at: now,
            "host \(host): snapshot of \(batches.count) batches from \(source.index)")
        hosts[host].process?.transfer = SnapshotTransfer(peer: peer, source: source.end, rest: batches[...])
        queue.add(.snapshotPart(host: host, run: hosts[host].run), at: now + Self.partTime)
    }

    mutating func snapshotPart(at host: Int) {
        guard let process = hosts[host].process, var transfer = process.transfer else { return }
        let source = transfer.source.host
        guard hosts[source].end == transfer.source, hosts[source].power == .running,
            !network.isBlocked(source, host), !network.isBlocked(host, source)
        else {
            process.transfer = nil
            return replicate(.snapshotEnded(from: transfer.peer, isWhole: false), at: host)
        }
        let part = Array(transfer.rest.prefix(Self.batchesPerPart))
        transfer.rest = transfer.rest.dropFirst(part.count)
        process.transfer = transfer.rest.isEmpty ? nil : transfer
        if !part.isEmpty { replicate(.snapshot(part, from: transfer.peer), at: host) }
        if transfer.rest.isEmpty {
            replicate(.snapshotEnded(from: transfer.peer, isWhole: true), at: host)
        } else {
            queue.add(.snapshotPart(host: host, run: hosts[host].run), at: now + Self.partTime)
        }
    }
}
