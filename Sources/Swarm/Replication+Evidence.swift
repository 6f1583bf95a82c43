internal import Core

/// Who signed two streams is shown to everybody (``EquivocationProof``): whoever finds it out reads its own version from
/// the store, makes the proof and writes it; all others learn it with their operations.
extension Replication {
    /// A contradiction for which this host's own version is read.
    struct Finding: Sendable {
        var contradiction: OperationLog.Equivocation
        var due: Duration
        /// The store may not have it yet.
        var tries = 0
    }

    private static let triesAtMost = 10

    mutating func found(_ contradiction: OperationLog.Equivocation, _ turn: inout Turn) {
        let origin = contradiction.origin
        guard proofs[origin] == nil, findings[origin] == nil, findings.count < Self.tracesAtOnce else { return }
        findings[origin] = Finding(contradiction: contradiction, due: turn.now)
        pursueFindings(&turn)
    }

    mutating func pursueFindings(_ turn: inout Turn) {
        for (origin, finding) in findings.sorted(by: { $0.key < $1.key }) {
            guard turn.now >= finding.due else {
                turn.wake(at: finding.due)
                continue
            }
            guard finding.tries < Self.triesAtMost, proofs[origin] == nil else {
                findings[origin] = nil
                continue
            }
            findings[origin]?.tries += 1
            findings[origin]?.due = turn.now + Timing.refusal
            turn.wake(at: turn.now + Timing.refusal)
            let place = finding.contradiction.fork.sequence
            turn.effects.append(.read(Read(peer: log.origin.node, origin: origin, after: place)))
        }
    }

    /// A piece of this host's own store.
    mutating func prove(_ read: Read, _ batch: OperationBatch?, _ turn: inout Turn) {
        guard let finding = findings[read.origin], finding.contradiction.fork.sequence == read.after, let batch,
            let proof = EquivocationProof(
                after: read.after, finding.contradiction.fork.chain, batch, finding.contradiction.theirs, log.scheme)
        else { return }
        findings[read.origin] = nil
        guard convict(proof, &turn) else { return }
        turn.notice(.proven(proof))
    }

    /// What others have found out, among what was taken.
    mutating func learn(_ operations: [Operation], _ turn: inout Turn) {
        for operation in operations where operation.kind == .equivocation {
            guard let proof = EquivocationProof(operation.body, log.scheme) else { continue }
            _ = convict(proof, &turn)
        }
    }

    private mutating func convict(_ proof: EquivocationProof, _ turn: inout Turn) -> Bool {
        guard proofs[proof.origin] == nil, proofs.count < EquivocationProof.limit else { return false }
        proofs[proof.origin] = proof
        log.freeze(proof.origin)
        turn.notice(.convicted(proof.origin))
        return true
    }
}
