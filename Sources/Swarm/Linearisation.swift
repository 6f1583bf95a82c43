package import Core

/// The one order of a conversation's operations that every host computes alike from the same set (swarm.md §3):
/// topological; among those that are ready the least (timestamp, node, sequence) first; right after a client's turn
/// comes the answer that its own origin gave, so that pairs stay together.
package enum Linearisation {
    /// Dependencies outside of `operations` (another stream, deleted content) count as met.
    package static func order(_ operations: [Operation]) -> [Operation] {
        // By place instead of by dot: each name is looked up once.
        var places: [Dot: Int] = [:]
        places.reserveCapacity(operations.count)
        for (place, operation) in operations.enumerated() { places[operation.dot] = place }
        var waiting = [Int](repeating: 0, count: operations.count)
        var dependents = [[Int]](repeating: [], count: operations.count)
        var ready: [Int] = []
        for place in places.values {
            var inside: [Int] = []
            for dependency in operations[place].dependencies {
                guard let other = places[dependency], other != place, !inside.contains(other) else { continue }
                inside.append(other)
                dependents[other].append(place)
            }
            waiting[place] = inside.count
            if inside.isEmpty { ready.append(place) }
        }

        func later(_ left: Int, _ right: Int) -> Bool { Self.later(operations[left], operations[right]) }
        ready.sort(by: later)
        var ordered: [Operation] = []
        ordered.reserveCapacity(places.count)
        while let next = ready.popLast() {
            var pair: Int? = next
            while let place = pair {
                pair = nil
                let operation = operations[place]
                ordered.append(operation)
                var freed: [Int] = []
                for dependent in dependents[place] {
                    waiting[dependent] -= 1
                    if waiting[dependent] == 0 { freed.append(dependent) }
                }
                if freed.count > 1 { freed.sort(by: later) }
                if operation.kind == .userTurn,
                    let answer = freed.lastIndex(where: { answers(operations[$0], operation) })
                {
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
        var followed: Set<Dot> = []
        for operation in operations { followed.formUnion(operation.dependencies) }
        return operations.lazy.map(\.dot).filter { !followed.contains($0) }.sorted()
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
