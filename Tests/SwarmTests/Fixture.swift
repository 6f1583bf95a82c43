import Core
import Swarm

/// Short names for what most tests of this room need.
enum Fixture {
    static let stream = StreamID(Bytes16(high: 7, low: 7))
    static let wall: UInt64 = 1_700_000_000_000

    static func origin(_ node: UInt64, epoch: UInt32 = 1) -> Origin {
        Origin(node: NodeID(Bytes16(high: 0, low: node)), epoch: epoch)
    }

    static func dot(_ node: UInt64, _ sequence: UInt64) -> Dot { Dot(origin: origin(node), sequence: sequence) }

    static func log(_ node: UInt64) -> OperationLog {
        OperationLog(
            RecoveredLog(origin: origin(node), heads: [], latestTimestamp: HybridTimestamp(rawValue: 0)))
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

extension [OperationLog.Action] {
    /// The operations to apply, in their order.
    var applied: [Operation] {
        flatMap { action -> [Operation] in
            if case .apply(let operations, _) = action { operations } else { [] }
        }
    }

    var heads: [LogHead] {
        flatMap { action -> [LogHead] in if case .apply(_, let heads) = action { heads } else { [] } }
    }

    var pulls: [Dot] {
        compactMap { action in
            if case .pull(let origin, let after) = action { Dot(origin: origin, sequence: after) } else { nil }
        }
    }

    var dropped: [Dot] { compactMap { action in if case .dropped(let dot) = action { dot } else { nil } } }
}
