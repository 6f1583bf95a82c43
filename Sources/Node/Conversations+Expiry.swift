internal import Core
internal import Logging
internal import Metrics
internal import Swarm

/// Conversations whose time is over are deleted as by a client: everywhere, and so that none of them returns from a
/// host that was away.
extension Conversations {
    /// Looked at in one round.
    private static let candidates = 64
    /// How long a member that is away counts: what it may not have is not deleted without it (swarm.md §4).
    private static let memory = Duration.seconds(7 * 86_400)

    static func counter(_ reason: Retention.Reason) -> Counter {
        Counter(label: "igris_conversations_expired_total", dimensions: [("reason", reason.rawValue)])
    }

    /// One look. `rank` is how many living members have lesser ids: the first of all decides.
    func expire(rank: Int, wallClock: UInt64, log: Logger) async {
        do {
            var bytes: Int?
            if let limit = retention.maxBytes, try await store.statistics().bytes > limit {
                bytes = try await store.contentBytes()
            }
            let oldest = try await store.oldest(limit: Self.candidates)
            let due = retention.due(oldest, bytes: bytes, rank: rank, now: wallClock)
            guard !due.isEmpty else { return }
            let cut = await writer.stableCut(retention: Self.memory)
            for (stream, reason) in due where try await expire(stream, cut) {
                expired += 1
                Self.counter(reason).increment()
                log.notice(
                    "a conversation has expired and was deleted on every host",
                    metadata: ["conversation.stream": "\(stream)", "reason": "context.\(reason.rawValue)"])
            }
        } catch {
            // The next look tries again; a store that cannot be read says so elsewhere.
            log.debug("nothing could expire", metadata: ["error": "\(error)"])
        }
    }

    /// False for one that is in use, or of which some member may not have all.
    private func expire(_ stream: StreamID, _ cut: VersionVector) async throws -> Bool {
        guard open[stream] == nil, expiring.insert(stream).inserted else { return false }
        defer { endExpiry(of: stream) }
        let dots = try await store.operations(of: stream).map(\.dot)
        guard dots.allSatisfy(cut.contains) else { return false }
        let heads = try await state(of: stream).nextDependencies
        // Somebody may have asked, or another host written, while this was read.
        guard open[stream] == nil, try await store.operations(of: stream).count == dots.count else { return false }
        let draft = OperationLog.Draft(kind: .delete, stream: stream, dependencies: heads, body: [])
        _ = try await write(LogWriter.Entry(drafts: [draft]), to: stream)
        return true
    }

    /// Waits while the conversation is being deleted: what is said then begins it anew.
    func expiryOver(of stream: StreamID) async {
        while expiring.contains(stream) {
            await withCheckedContinuation { waitingForExpiry.append($0) }
        }
    }

    private func endExpiry(of stream: StreamID) {
        expiring.remove(stream)
        let waiting = waitingForExpiry
        waitingForExpiry = []
        for continuation in waiting { continuation.resume() }
    }
}
