package import Core

/// Which operations of one stream still say something: those that descend from every delete of the stream
/// (remove wins over what was written at the same time; a conversation begun anew depends on the deletes). The same on
/// every host that holds the same operations.
package struct StreamHistory: Sendable {
    /// Without their bodies, but for those that describe the conversation.
    private var operations: [Dot: Operation] = [:]
    package private(set) var deletes: Set<Dot> = []
    /// Turns whose content was taken away one by one.
    private var erasures: Set<Dot> = []
    /// Questions to which no answer is shown.
    private var withdrawn: Set<Dot> = []
    /// While there are deletes: what descends from all of them.
    private var descending: Set<Dot> = []
    /// While there are deletes: what depends on operations that are not here, and what follows it. It may yet turn out
    /// to be visible. So it is where this host's disk refused an operation that its own next one depends on.
    private var undetermined: Set<Dot> = []

    package init() {}

    package init(_ operations: [Operation]) {
        for operation in operations { keep(operation) }
        if !deletes.isEmpty { recompute() }
    }

    /// Returns whether what was visible before may be so no more.
    ///
    /// What was ``isUndetermined(_:)`` before may be visible now.
    @discardableResult
    package mutating func add(_ operation: Operation) -> Bool {
        guard operations[operation.dot] == nil else { return false }
        keep(operation)
        guard !deletes.isEmpty else { return false }
        if operation.kind != .delete, undetermined.isEmpty,
            operation.dependencies.contains(where: descending.contains)
        {
            // The usual case: it follows something that is visible.
            descending.insert(operation.dot)
            return false
        }
        recompute()
        return operation.kind == .delete
    }

    package func contains(_ dot: Dot) -> Bool { operations[dot] != nil }

    /// Whether it is here, no delete, and not deleted.
    package func isVisible(_ dot: Dot) -> Bool {
        guard let operation = operations[dot], operation.kind != .delete else { return false }
        return deletes.isEmpty || descending.contains(dot)
    }

    /// Whether it is a turn whose content goes, while its place in the conversation stays.
    package func isErased(_ dot: Dot) -> Bool {
        guard !erasures.isEmpty, let operation = operations[dot], operation.kind.isTurn else { return false }
        if erasures.contains(dot) { return true }
        guard operation.kind == .assistantTurn, let question = operation.dependencies.first else { return false }
        return withdrawn.contains(question) && operations[question]?.kind == .userTurn
    }

    /// Whether anything was taken away.
    package var removesAnything: Bool { !deletes.isEmpty || !erasures.isEmpty }

    /// Whether that will be known only when its causes are here.
    package func isUndetermined(_ dot: Dot) -> Bool { undetermined.contains(dot) }
    package var hasUndetermined: Bool { !undetermined.isEmpty }

    /// Whether it is visible and has its content.
    func isShown(_ dot: Dot) -> Bool { isVisible(dot) && !isErased(dot) }

    /// What is visible and has its content, of turns without that content.
    var shown: [Operation] { operations.values.filter { isShown($0.dot) } }

    /// Whether something took its content away, or will.
    func isHidden(_ dot: Dot) -> Bool {
        guard removesAnything, let operation = operations[dot], operation.kind != .delete else { return false }
        return isErased(dot) || !deletes.isEmpty && !descending.contains(dot) && !undetermined.contains(dot)
    }

    /// What a delete has hit and what still has its content, ascending.
    package var hidden: [Dot] {
        guard removesAnything else { return [] }
        return operations.filter { isHidden($0.key) && !$0.value.flags.contains(.erased) }.keys.sorted()
    }

    package mutating func markErased(_ dots: [Dot]) {
        for dot in dots {
            operations[dot]?.flags.insert(.erased)
            operations[dot]?.body = []
        }
    }

    /// What a conversation begun anew depends on: the deletes that no other follows, the latest where there are more
    /// than an operation may name.
    package var frontier: [Dot] {
        var last = deletes
        for delete in deletes { last.subtract(operations[delete]?.dependencies ?? []) }
        return Array(last.sorted().suffix(Limits.operationDependencies))
    }

    private mutating func keep(_ operation: Operation) {
        var bare = operation
        if operation.kind != .conversationMeta { bare.body = [] }
        operations[operation.dot] = bare
        if operation.kind == .delete { deletes.insert(operation.dot) }
        guard operation.kind == .erase else { return }
        erasures.formUnion(operation.dependencies)
        if !operation.body.isEmpty { withdrawn.formUnion(operation.dependencies) }
    }

    private mutating func recompute() {
        // By place instead of by dot: each name is looked up once.
        var places: [Dot: Int] = [:]
        places.reserveCapacity(operations.count)
        let all = Array(operations.values)
        for (place, operation) in all.enumerated() { places[operation.dot] = place }
        var dependents = [[Int]](repeating: [], count: all.count)
        var rootless: [Int] = []
        for (place, operation) in all.enumerated() {
            for dependency in operation.dependencies {
                if let cause = places[dependency] { dependents[cause].append(place) } else { rootless.append(place) }
            }
        }
        /// Of each operation, how many deletes it descends from, and the last of them that was counted.
        var counts = [Int](repeating: 0, count: all.count)
        var counted = [Int](repeating: -1, count: all.count)
        for delete in deletes {
            guard let root = places[delete] else { continue }
            counted[root] = root
            var rest = [root]
            while let next = rest.popLast() {
                for dependent in dependents[next] where counted[dependent] != root {
                    counted[dependent] = root
                    counts[dependent] += 1
                    rest.append(dependent)
                }
            }
        }
        descending = []
        for place in all.indices where counts[place] == deletes.count && all[place].kind != .delete {
            descending.insert(all[place].dot)
        }
        undetermined = []
        while let next = rootless.popLast() {
            guard counts[next] != deletes.count || all[next].kind == .delete,
                undetermined.insert(all[next].dot).inserted
            else { continue }
            rootless += dependents[next]
        }
    }
}
