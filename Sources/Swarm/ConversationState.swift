package import Core

/// One conversation as its operations make it: the view that is kept in memory while the conversation is in use.
package struct ConversationState: Sendable {
    package private(set) var transcript = Transcript()
    /// The turns that no other turn follows, ascending.
    package private(set) var heads: [Dot] = []
    /// In the order that every host computes alike.
    package private(set) var dots: [Dot] = []
    private var operations: [Dot: Operation] = [:]
    private var turns: [Dot: Turn] = [:]
    /// About what this holds in memory.
    package private(set) var bytes = 0

    package init() {}

    /// Throws ``RuntimeError`` `.corrupt` for a turn that cannot be read.
    package init(_ operations: [Operation]) throws(RuntimeError) {
        for operation in operations { try keep(operation) }
        rebuild()
    }

    /// Takes further operations; one that is here already changes nothing.
    package mutating func apply(_ new: [Operation]) throws(RuntimeError) {
        var isInOrder = true
        for operation in new where Self.isTurn(operation) && operations[operation.dot] == nil {
            let follows = operation.dependencies.sorted() == heads
            try keep(operation)
            guard isInOrder, follows else {
                isInOrder = false
                continue
            }
            // The usual case: it follows all that is here, so it comes last.
            show(operation)
            heads = [operation.dot]
        }
        if !isInOrder { rebuild() }
    }

    /// What the next turn depends on: the heads; where there are more than an operation may name, the latest of them.
    package var nextDependencies: [Dot] {
        guard heads.count > Limits.operationDependencies else { return heads }
        let loose = Set(heads)
        return dots.reversed().lazy.filter(loose.contains).prefix(Limits.operationDependencies).sorted()
    }

    package func turn(_ dot: Dot) -> (turn: Turn, timestamp: HybridTimestamp)? {
        guard let turn = turns[dot], let operation = operations[dot] else { return nil }
        return (turn, operation.timestamp)
    }

    private static func isTurn(_ operation: Operation) -> Bool {
        (operation.kind == .userTurn || operation.kind == .assistantTurn) && !operation.flags.contains(.erased)
    }

    private mutating func keep(_ operation: Operation) throws(RuntimeError) {
        guard Self.isTurn(operation) else { return }
        turns[operation.dot] = try TurnCodec.decodeTurn(operation.body)
        bytes += operation.body.count + 256
        var bare = operation
        bare.body = []
        operations[operation.dot] = bare
    }

    private mutating func show(_ operation: Operation) {
        guard let turn = turns[operation.dot] else { return }
        dots.append(operation.dot)
        transcript.append(turn, dot: operation.dot, dependencies: operation.dependencies)
    }

    private mutating func rebuild() {
        transcript = Transcript()
        dots = []
        let all = Array(operations.values)
        for operation in Linearisation.order(all) { show(operation) }
        heads = Linearisation.heads(of: all)
    }
}
