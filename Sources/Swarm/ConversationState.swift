package import Core

/// One conversation as its operations make it: the view that is kept in memory while the conversation is in use.
///
/// Shown is what descends from every delete of the conversation (``StreamHistory``), and of requests that were retried
/// on another host one question with its answer. A turn that this version cannot read (a newer host's) is not shown,
/// and what follows it is.
package struct ConversationState: Sendable {
    package private(set) var transcript = Transcript()
    /// The turns that no other turn follows, ascending; of a deleted conversation the deletes.
    package private(set) var heads: [Dot] = []
    /// In the order that every host computes alike.
    package private(set) var dots: [Dot] = []
    private var history = StreamHistory()
    /// Turns that are visible, without their bodies.
    private var operations: [Dot: Operation] = [:]
    private var turns: [Dot: Turn] = [:]
    /// What may be visible once its causes are here.
    private var undetermined: [Operation] = []
    /// The questions asked with one request key.
    private var requests: [Bytes16: [Dot]] = [:]
    /// About what this holds in memory.
    package private(set) var bytes = 0

    package init() {}

    package init(_ operations: [Operation]) {
        history = StreamHistory(operations)
        var seen: Set<Dot> = []
        for operation in operations where seen.insert(operation.dot).inserted { place(operation) }
        rebuild()
    }

    /// Takes further operations; one that is here already changes nothing.
    package mutating func apply(_ new: [Operation]) {
        var isInOrder = true
        for operation in new where !history.contains(operation.dot) {
            let follows = operation.dependencies.sorted() == heads
            let isShown = keep(operation)
            guard Self.isTurn(operation) || operation.kind == .delete else { continue }
            // The usual case: it follows all that is here, so it comes last.
            if isInOrder, follows, isShown {
                show(operation.dot)
                heads = [operation.dot]
            } else {
                isInOrder = false
            }
        }
        if !undetermined.isEmpty {
            let waiting = undetermined
            undetermined = []
            for operation in waiting { place(operation) }
            isInOrder = false
        }
        if !isInOrder { rebuild() }
    }

    /// What the next turn depends on: the heads; where there are more than an operation may name, the latest of them.
    package var nextDependencies: [Dot] {
        guard heads.count > Limits.operationDependencies else { return heads }
        let loose = Set(heads)
        return dots.reversed().lazy.filter(loose.contains).prefix(Limits.operationDependencies).sorted()
    }

    /// What a conversation begun anew depends on.
    package var deletes: [Dot] { history.frontier }

    package func turn(_ dot: Dot) -> (turn: Turn, timestamp: HybridTimestamp)? {
        guard let turn = turns[dot], let operation = operations[dot] else { return nil }
        return (turn, operation.timestamp)
    }

    private static func isTurn(_ operation: Operation) -> Bool {
        (operation.kind == .userTurn || operation.kind == .assistantTurn) && !operation.flags.contains(.erased)
    }

    /// Returns whether it may be shown without a look at what else is here.
    @discardableResult
    private mutating func keep(_ operation: Operation) -> Bool {
        if history.add(operation) { dropHidden() }
        return place(operation)
    }

    @discardableResult
    private mutating func place(_ operation: Operation) -> Bool {
        guard Self.isTurn(operation) else { return false }
        if history.isUndetermined(operation.dot) { undetermined.append(operation) }
        guard history.isVisible(operation.dot) else { return false }
        bytes += operation.body.count + 256
        var bare = operation
        bare.body = []
        operations[operation.dot] = bare
        guard let turn = try? TurnCodec.decodeTurn(operation.body) else { return false }
        turns[operation.dot] = turn
        if operation.kind == .userTurn, let key = turn.requestKey {
            requests[key, default: []].append(operation.dot)
            return requests[key]?.count == 1
        }
        guard operation.kind == .assistantTurn, let question = operation.dependencies.first,
            let key = turns[question]?.requestKey
        else { return true }
        return requests[key]?.count ?? 0 < 2
    }

    /// A delete came: nothing of what it hit stays in memory.
    private mutating func dropHidden() {
        for dot in operations.keys where !history.isVisible(dot) {
            operations[dot] = nil
            turns[dot] = nil
        }
        requests = [:]
        for (dot, turn) in turns where operations[dot]?.kind == .userTurn {
            if let key = turn.requestKey { requests[key, default: []].append(dot) }
        }
        bytes = operations.keys.reduce(0) { $0 + (turns[$1]?.message.promptBytes ?? 0) + 256 }
    }

    private mutating func show(_ dot: Dot) {
        guard let turn = turns[dot], let operation = operations[dot] else { return }
        dots.append(dot)
        transcript.append(turn, dot: dot, dependencies: operation.dependencies)
    }

    private mutating func rebuild() {
        transcript = Transcript()
        dots = []
        let all = Array(operations.values)
        let repeated = repeatedRequests()
        for operation in Linearisation.order(all) where !repeated.contains(operation.dot) { show(operation.dot) }
        heads = operations.isEmpty ? history.frontier : Linearisation.heads(of: all)
    }

    /// Requests that were retried on another host, which did not know of the first yet, stand twice. The one stays
    /// that has a whole answer, else any answer; of equals the least. The others go with their answers.
    private func repeatedRequests() -> Set<Dot> {
        let several = requests.filter { $0.value.count > 1 }
        guard !several.isEmpty else { return [] }
        var answers: [Dot: [Dot]] = [:]
        for operation in operations.values where operation.kind == .assistantTurn {
            if let question = operation.dependencies.first { answers[question, default: []].append(operation.dot) }
        }
        func rank(_ question: Dot) -> Int {
            let reasons = (answers[question] ?? []).compactMap { turns[$0]?.outcome?.finishReason }
            return reasons.contains { $0 == .stop || $0 == .length } ? 0 : reasons.isEmpty ? 2 : 1
        }
        var repeated: Set<Dot> = []
        for questions in several.values {
            let kept = questions.min { (rank($0), $0) < (rank($1), $1) }
            for question in questions where question != kept {
                repeated.insert(question)
                repeated.formUnion(answers[question] ?? [])
            }
        }
        return repeated
    }
}
