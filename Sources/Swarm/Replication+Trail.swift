internal import Core

/// The chain hashes of a stream that are not in memory, from the store: with them it can be shown that an author signed
/// two streams, however long ago they parted and however often this host was started since. Rare, so the stream is read
/// from its beginning, one batch after the other.
extension Replication {
    /// A stream on its way through the hash.
    struct Trace: Sendable {
        var sequence: UInt64 = 0
        /// The latest of them.
        var chains: [ChainHash] = [.empty]
        /// Who contradicted.
        var peer: NodeID
    }

    /// Asks `peer` for its version of a stream from far enough back that a contradiction can be proven.
    mutating func challenge(_ origin: Origin, after: UInt64, _ peer: NodeID, _ turn: inout Turn) {
        guard !log.frozen.contains(origin) else { return }
        if let last = challenged[origin], turn.now - last < Timing.challenge { return }
        if challenged.count >= Limits.knownHosts { challenged = [:] }
        let isRepeated = challenged.updateValue(turn.now, forKey: origin) != nil
        // What is in memory did not suffice, or is no more than the end.
        if after > 0, isRepeated || after == log.applied[origin], traces.count < Self.tracesAtOnce {
            traces[origin] = Trace(peer: peer)
            return trace(origin, &turn)
        }
        send(.pull([ReplicationMessage.Mark(origin, after)]), to: peer, &turn)
    }

    static let tracesAtOnce = 16

    private func trace(_ origin: Origin, _ turn: inout Turn) {
        guard let trace = traces[origin] else { return }
        turn.effects.append(.read(Read(peer: log.origin.node, origin: origin, after: trace.sequence)))
    }

    /// A piece of this host's own store.
    mutating func traced(_ read: Read, _ batch: OperationBatch?, _ turn: inout Turn) {
        guard var trace = traces[read.origin], trace.sequence == read.after else { return }
        for operation in batch?.operations ?? [] where operation.dot.sequence == trace.sequence + 1 {
            trace.chains.append(OperationLog.chain(trace.chains.last ?? .empty, operation))
            trace.sequence += 1
        }
        if trace.chains.count > 2 * OperationLog.longTrail {
            trace.chains.removeFirst(trace.chains.count - OperationLog.longTrail)
        }
        traces[read.origin] = trace
        if trace.sequence > read.after, trace.sequence < vector[read.origin] {
            return self.trace(read.origin, &turn)
        }
        traces[read.origin] = nil
        guard let start = log.lengthenTrail(of: read.origin, trace.chains, upTo: trace.sequence) else { return }
        send(.pull([ReplicationMessage.Mark(read.origin, start)]), to: trace.peer, &turn)
    }
}
