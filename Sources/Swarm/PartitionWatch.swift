package import Core

/// How long partitions last: from the first sign that a member was lost, to the moment when all that came back hold the
/// same as this host. Who was started anew in between was down, not cut off, and who said goodbye was not lost: neither
/// counts. From here a partition and a host that stood still look the same.
package struct PartitionWatch: Hashable, Sendable {
    private struct Loss: Hashable {
        var instance: InstanceID
        var began: Duration
        var isBack = false
    }

    /// Since when each is doubted.
    private var doubts: [NodeID: Duration] = [:]
    private var losses: [NodeID: Loss] = [:]

    package init() {}

    /// Some are back, and it is not known yet that they hold the same: ask ``compared(equal:at:)``.
    package var isHealing: Bool { losses.values.contains(where: \.isBack) }

    package mutating func changed(_ node: NodeID, _ instance: InstanceID, to state: Member.State, at now: Duration) {
        switch state {
        case .suspect:
            if doubts[node] == nil { doubts[node] = now }
            losses[node]?.isBack = false
        case .dead:
            let began = doubts.removeValue(forKey: node) ?? now
            if losses[node] == nil { losses[node] = Loss(instance: instance, began: began) }
            losses[node]?.isBack = false
        case .alive:
            doubts[node] = nil
            if losses[node]?.instance == instance { losses[node]?.isBack = true } else { losses[node] = nil }
        case .left: forgot(node)
        }
    }

    package mutating func forgot(_ node: NodeID) {
        doubts[node] = nil
        losses[node] = nil
    }

    /// - Parameter equal: the linked members that hold the same as this host.
    /// - Returns: how long the partition lasted, when all that came back are among them. Who is still away does not
    ///   hold that up: its return is the end of another one.
    package mutating func compared(equal: Set<NodeID>, at now: Duration) -> Duration? {
        let back = losses.filter { $0.value.isBack }
        guard let began = back.values.map(\.began).min(), back.keys.allSatisfy(equal.contains) else { return nil }
        for node in back.keys { losses[node] = nil }
        return now - began
    }
}
