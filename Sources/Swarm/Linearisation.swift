package import Core

/// The one order of a conversation's operations that every host computes alike from the same set (swarm.md §3):
/// topological; among those that are ready the least (timestamp, node, sequence) first; right after a client's turn
/// comes the answer that its own origin gave, so that pairs stay together.
package enum Linearisation {
    /// Dependencies outside of `operations` (another stream, deleted content) count as met.
    package static func order(_ operations: [Operation]) -> [Operation] {
        var byDot: [Dot: Operation] = [:]
        for operation in operations { byDot[operation.dot] = operation }
        var waiting: [Dot: Int] = [:]
        var dependents: [Dot: [Dot]] = [:]
        for operation in byDot.values {
            let inside = Set(operation.dependencies.filter { byDot[$0] != nil && $0 != operation.dot })
            waiting[operation.dot] = inside.count
            for dependency in inside { dependents[dependency, default: []].append(operation.dot) }
        }

        var ready = byDot.values.filter { waiting[$0.dot] == 0 }.sorted(by: later)
        var ordered: [Operation] = []
        ordered.reserveCapacity(byDot.count)
        while let next = ready.popLast() {
            var pair: Operation? = next
            while let operation = pair {
                pair = nil
                ordered.append(operation)
                var freed: [Operation] = []
                for dot in dependents[operation.dot] ?? [] {
                    waiting[dot, default: 0] -= 1
                    if waiting[dot] == 0, let dependent = byDot[dot] { freed.append(dependent) }
                }
                freed.sort(by: later)
                if operation.kind == .userTurn, let answer = freed.lastIndex(where: { answers($0, operation) }) {
                    pair = freed.remove(at: answer)
                }
                for dependent in freed {
                    ready.insert(dependent, at: ready.partitioningIndex { later(dependent, $0) })
                }
            }
        }
        return ordered
    }

    /// The operations that no other of the set depends on, ascending.
    package static func heads(of operations: [Operation]) -> [Dot] {
        var heads = Set(operations.map(\.dot))
        for operation in operations { heads.subtract(operation.dependencies) }
        return heads.sorted()
    }

    private static func answers(_ candidate: Operation, _ question: Operation) -> Bool {
        candidate.kind == .assistantTurn && candidate.dot.origin.node == question.dot.origin.node
            && candidate.dependencies.first == question.dot
    }

    /// Whether `left` comes after `right` while both are ready: the ready list is kept descending.
    private static func later(_ left: Operation, _ right: Operation) -> Bool {
        (left.timestamp.rawValue, left.dot) > (right.timestamp.rawValue, right.dot)
    }
}

extension Array {
    /// The first index whose element satisfies `predicate`, in an array where all that do not come first.
    fileprivate func partitioningIndex(where predicate: (Element) -> Bool) -> Int {
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = low + (high - low) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
