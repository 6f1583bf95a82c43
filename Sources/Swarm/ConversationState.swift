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
    /// What some of them follow and was not here when they came.
    private var awaited: Set<Dot> = []
    /// Nothing of ``operations`` comes after it by time.
    private var youngest = (
        timestamp: HybridTimestamp(rawValue: 0),
        dot: Dot(origin: Origin(node: NodeID(Bytes16(high: 0, low: 0)), epoch: 0), sequence: 0)
    )
    /// What describes the conversation.
    private var descriptions: [Dot: (timestamp: HybridTimestamp, meta: ConversationMeta)] = [:]
    /// What was noted of turns later, the newest of each.
    private var annotations: [Dot: (timestamp: HybridTimestamp, note: Dot, annotation: JSON)] = [:]
    /// Questions whose answers shall not be written on.
    private var cancelled: Set<Dot> = []
    /// What may be visible once its causes are here.
    private var undetermined: [Operation] = []
    /// The questions asked with one request key.
    private var requests: [Bytes16: [Dot]] = [:]
    /// About what this holds in memory.
    package private(set) var bytes = 0
    /// What a turn takes beside its text, in all that stands above (measured with heaptrack, of 10,000 turns).
    package static let turnOverhead = 1_400

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
            let isLast = comesLast(operation)
            let isShown = keep(operation)
            guard operation.kind.isTurn || operation.kind.removes else { continue }
            if isInOrder, isLast, isShown {
                show(operation.dot)
                heads.removeAll(where: operation.dependencies.contains)
                heads = operations.count == 1 ? [operation.dot] : (heads + [operation.dot]).sorted()
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

    /// The usual cases: it follows all that is here; or it is younger than all, and no answer that belongs right after its
    /// question, so that ``Linearisation`` would take everything else first.
    private func comesLast(_ operation: Operation) -> Bool {
        guard !awaited.contains(operation.dot) else { return false }
        if operation.dependencies.sorted() == heads { return true }
        guard (operation.timestamp, operation.dot) > (youngest.timestamp, youngest.dot) else { return false }
        return operation.kind == .userTurn || operation.dependencies.first == dots.last
    }

    /// What the next turn depends on: the heads; where there are more than an operation may name, the latest of them.
    package var nextDependencies: [Dot] {
        guard heads.count > Limits.operationDependencies else { return heads }
        let loose = Set(heads)
        return dots.reversed().lazy.filter(loose.contains).prefix(Limits.operationDependencies).sorted()
    }

    /// What a conversation begun anew depends on.
    package var deletes: [Dot] { history.frontier }

    /// What the client has noted about the conversation last.
    package var metadata: JSON? {
        descriptions.filter { $0.value.meta.metadata != nil }
            .max { ($0.value.timestamp, $0.key) < ($1.value.timestamp, $1.key) }?.value.meta.metadata
    }

    /// The exchange that a question began. One that was retried on another host stands once, under either of its dots.
    package func exchange(asked question: Dot) -> Transcript.Exchange? {
        if let exchange = transcript.exchange(asked: question) { return exchange }
        return turns[question]?.requestKey.flatMap { transcript.exchange(requestKey: $0) }
    }

    /// The question that a turn answers.
    package func question(of answer: Dot) -> Dot? {
        guard let operation = operations[answer], operation.kind == .assistantTurn,
            let question = operation.dependencies.first, operations[question] != nil
        else { return nil }
        return question
    }

    /// The answers to a question, those included that do not count.
    package func answers(to question: Dot) -> [Dot] {
        operations.values.filter { $0.kind == .assistantTurn && $0.dependencies.first == question }.map(\.dot).sorted()
    }

    /// What led to `ends`, they included, in the order of the whole: a branch is not its neighbour's business.
    package func path(to ends: [Dot]) -> [Dot] {
        var path: Set<Dot> = []
        var rest = ends
        while let next = rest.popLast() {
            guard let operation = operations[next], path.insert(next).inserted else { continue }
            rest += operation.dependencies
            // A request that was retried elsewhere stands once, with the answer that it has there.
            if let key = turns[next]?.requestKey, let several = requests[key], several.count > 1 {
                for question in several where path.insert(question).inserted {
                    rest += operations[question]?.dependencies ?? []
                    path.formUnion(answers(to: question))
                }
            }
        }
        return dots.filter(path.contains)
    }

    /// What was said on the way to `ends`.
    package func transcript(upTo ends: [Dot]) -> Transcript {
        var transcript = Transcript()
        for dot in path(to: ends) {
            guard let turn = turns[dot], let operation = operations[dot] else { continue }
            transcript.append(turn, dot: dot, dependencies: operation.dependencies)
        }
        return transcript
    }

    package func turn(_ dot: Dot) -> (turn: Turn, timestamp: HybridTimestamp)? {
        guard var turn = turns[dot], let operation = operations[dot] else { return nil }
        if let later = annotations[dot] { turn.annotation = later.annotation }
        return (turn, operation.timestamp)
    }

    /// Whether somebody has asked to stop the answer to a question.
    package func isCancelled(_ question: Dot) -> Bool { cancelled.contains(question) }

    /// Returns whether it may be shown without a look at what else is here.
    @discardableResult
    private mutating func keep(_ operation: Operation) -> Bool {
        if history.add(operation) || operation.kind == .erase { dropHidden() }
        return place(operation)
    }

    @discardableResult
    private mutating func place(_ operation: Operation) -> Bool {
        if operation.kind == .conversationMeta, history.isVisible(operation.dot),
            let meta = try? TurnCodec.decodeMeta(operation.body)
        {
            take(meta, operation)
        }
        guard operation.kind.isTurn else { return false }
        if history.isUndetermined(operation.dot) { undetermined.append(operation) }
        guard history.isVisible(operation.dot) else { return false }
        bytes += operation.body.count + Self.turnOverhead
        var bare = operation
        bare.body = []
        operations[operation.dot] = bare
        for dependency in operation.dependencies where operations[dependency] == nil { awaited.insert(dependency) }
        if (operation.timestamp, operation.dot) > (youngest.timestamp, youngest.dot) {
            youngest = (operation.timestamp, operation.dot)
        }
        // A turn without its content holds its place: what follows it does not move.
        guard !operation.flags.contains(.erased), !history.isErased(operation.dot) else { return false }
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

    private mutating func take(_ meta: ConversationMeta, _ operation: Operation) {
        guard let note = meta.note, let turn = operation.dependencies.first else {
            descriptions[operation.dot] = (operation.timestamp, meta)
            return
        }
        switch note {
        case .cancelled: cancelled.insert(turn)
        case .annotation(let annotation):
            if let former = annotations[turn],
                (former.timestamp, former.note) > (operation.timestamp, operation.dot)
            {
                return
            }
            annotations[turn] = (operation.timestamp, operation.dot, annotation)
        }
    }

    /// A delete came: nothing of what it hit stays in memory.
    private mutating func dropHidden() {
        for dot in operations.keys where !history.isVisible(dot) {
            operations[dot] = nil
            turns[dot] = nil
        }
        for dot in turns.keys where history.isErased(dot) { turns[dot] = nil }
        descriptions = descriptions.filter { history.isVisible($0.key) }
        annotations = annotations.filter { turns[$0.key] != nil }
        cancelled.formIntersection(operations.keys)
        requests = [:]
        for (dot, turn) in turns where operations[dot]?.kind == .userTurn {
            if let key = turn.requestKey { requests[key, default: []].append(dot) }
        }
        bytes = operations.keys.reduce(0) { $0 + (turns[$1]?.message.promptBytes ?? 0) + Self.turnOverhead }
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
