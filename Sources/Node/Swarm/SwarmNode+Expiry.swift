internal import Core
internal import Swarm

/// Conversations whose time is over.
extension SwarmNode {
    /// Looks until the task is cancelled; ends at once where nothing ever expires.
    func expireConversations() async {
        guard !conversations.retention.isOff else { return }
        while !Task.isCancelled {
            try? await Task.sleep(for: conversations.retention.interval)  // cancelled: the loop ends
            // Before the first links stand, another host may decide the same.
            guard !hasLeft, !Task.isCancelled, phases.last?.phase == .steady || phases.last?.phase == .alone else {
                continue
            }
            // By a clock that is wrong everything would go, or one that others are about to write to.
            guard let time = setup.settledClock(), agreesWithOthers(time) else { continue }
            let rank = states.count { $0.value == .alive && $0.key < setup.node }
            await conversations.expire(rank: rank, wallClock: time, log: log)
        }
    }

    /// Where one host's clock is off, nobody knows whose stamps are wrong.
    private func agreesWithOthers(_ time: UInt64) -> Bool {
        let shift = Duration.milliseconds(Int64(clamping: setup.wallClock()) - Int64(clamping: time))
        return mesh.hosts.allSatisfy { host in
            guard host.standing == .linked, let skew = skew(of: host) else { return true }
            let apart = skew + shift
            return apart < Self.disagreement && .zero - apart < Self.disagreement
        }
    }

    private static let disagreement = Duration.seconds(300)
}
