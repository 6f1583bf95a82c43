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
            let rank = states.count { $0.value == .alive && $0.key < setup.node }
            await conversations.expire(rank: rank, wallClock: setup.wallClock(), log: log)
        }
    }
}
