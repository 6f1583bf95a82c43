import Core
import Cryptography
import Swarm
import Testing

/// Short names for what most tests of this room need.
enum Fixture {
    static let stream = StreamID(Bytes16(high: 7, low: 7))
    static let wall: UInt64 = 1_700_000_000_000

    static func origin(_ node: UInt64, epoch: UInt32 = 1) -> Origin {
        Origin(node: NodeID(Bytes16(high: 0, low: node)), epoch: epoch)
    }

    static func dot(_ node: UInt64, _ sequence: UInt64) -> Dot { Dot(origin: origin(node), sequence: sequence) }

    /// Seals without curves: a keyed hash that everybody can compute. Good against mistakes, which is what tests need.
    static func seals(_ node: UInt64) -> SealScheme {
        let author = NodeID(Bytes16(high: 0, low: node)).bytes.bytes + [UInt8](repeating: 1, count: 16)
        @Sendable func word(_ author: [UInt8], _ message: [UInt8]) -> [UInt8] {
            let hash = SHA256.hash(author + message)
            return hash + hash
        }
        return SealScheme(
            author: author, sign: { message throws(RuntimeError) in word(author, message) },
            verify: { $0 == word($2, $1) }, node: { Bytes16($0).map(NodeID.init) })
    }

    static func recovered(_ node: UInt64, epoch: UInt32 = 1, heads: [LogHead] = []) -> RecoveredLog {
        RecoveredLog(
            origin: origin(node, epoch: epoch), heads: heads, latestTimestamp: HybridTimestamp(rawValue: 0))
    }

    static func log(_ node: UInt64, epoch: UInt32 = 1) -> OperationLog {
        OperationLog(recovered(node, epoch: epoch), seals: seals(node))
    }

    static let peer = NodeID(Bytes16(high: 0, low: 77))

    /// Operations of one origin as its author would have sealed them, over what came before.
    static func batch(_ operations: [Operation], over earlier: [Operation] = []) -> OperationBatch {
        guard let last = operations.last else { preconditionFailure("a batch holds something") }
        let origin = last.dot.origin
        let chain = (earlier + operations).reduce(ChainHash.empty, OperationLog.chain)
        let scheme = seals(origin.node.bytes.low)
        let seal = try? scheme.sealed(LogHead(origin: origin, sequence: last.dot.sequence, chain: chain))
        guard let seal else { preconditionFailure("these seals never fail") }
        return OperationBatch(operations: operations, seal: seal)
    }

    static func draft(
        _ text: String = "x", _ kind: Operation.Kind = .userTurn, stream: StreamID = stream, after: [Dot] = []
    ) -> OperationLog.Draft {
        OperationLog.Draft(kind: kind, stream: stream, dependencies: after, body: body(text, kind))
    }

    static func body(_ text: String, _ kind: Operation.Kind = .userTurn, key: Bytes16? = nil) -> [UInt8] {
        TurnCodec.encode(turn(text, kind, key: key))
    }

    static func turn(
        _ text: String, _ kind: Operation.Kind = .userTurn, key: Bytes16? = nil, ended reason: FinishReason = .stop
    ) -> Turn {
        guard kind == .assistantTurn else { return Turn(message: Message(.user, text), requestKey: key) }
        let usage = TokenUsage(promptTokens: 1, completionTokens: 1)
        return Turn(
            message: Message(.assistant, text),
            outcome: Turn.Outcome(finishReason: reason, usage: usage, model: "m"))
    }

    /// An operation by hand.
    static func operation(
        _ dot: Dot, _ kind: Operation.Kind = .userTurn, at milliseconds: UInt64 = 1, after: [Dot] = [],
        text: String? = nil
    ) -> Operation {
        Operation(
            dot: dot, kind: kind, timestamp: HybridTimestamp(milliseconds: milliseconds), stream: stream,
            dependencies: after, body: body(text ?? "\(dot.origin.node.bytes.low)/\(dot.sequence)", kind))
    }
}

extension OperationLog {
    /// Writes, and returns the operations as they travel.
    mutating func write(_ drafts: [Draft], milliseconds: UInt64 = Fixture.wall) throws -> [OperationBatch] {
        try proposed(drafts, milliseconds: milliseconds).batches
    }

    mutating func write(_ text: String, after: [Dot] = []) throws -> OperationBatch {
        try #require(try write([Fixture.draft(text, after: after)]).first)
    }

    mutating func take(_ batches: [OperationBatch], isDivisible: Bool = false) -> [Action] {
        received(batches, from: Fixture.peer, isDivisible: isDivisible, milliseconds: Fixture.wall)
    }
}

extension [OperationLog.Action] {
    /// The operations to apply, in their order.
    var applied: [Operation] {
        flatMap { action -> [Operation] in if case .apply(let advance) = action { advance.operations } else { [] } }
    }

    var heads: [LogHead] {
        flatMap { action -> [LogHead] in if case .apply(let advance) = action { advance.heads } else { [] } }
    }

    var seals: [BatchSeal] {
        flatMap { action -> [BatchSeal] in if case .apply(let advance) = action { advance.seals } else { [] } }
    }

    var pulls: [Dot] {
        compactMap { action in
            if case .pull(let origin, let after) = action { Dot(origin: origin, sequence: after) } else { nil }
        }
    }

    var dropped: [Dot] { compactMap { action in if case .dropped(let dot) = action { dot } else { nil } } }

    var rejected: [NodeID] {
        compactMap { action in if case .rejected(_, _, _, let by) = action { by } else { nil } }
    }

    var proofs: [OperationLog.Equivocation] {
        compactMap { action in if case .equivocated(let proof) = action { proof } else { nil } }
    }
}
