import Core
internal import Logging
internal import Swarm

/// Tells those who stand by for one answer what becomes of it. An answer that is over before it has anything to tell
/// costs nothing.
struct StandbyFeed: Sendable {
    private let answer: LiveAnswer
    private let request: StandbyRequest
    private let links: WorkLinks
    private let hosts: @Sendable (Dot) async -> [NodeID]

    init(
        _ answer: LiveAnswer, _ request: StandbyRequest, _ links: WorkLinks,
        hosts: @escaping @Sendable (Dot) async -> [NodeID]
    ) {
        self.answer = answer
        self.request = request
        self.links = links
        self.hosts = hosts
    }

    /// Returns once the answer is over.
    func run() async {
        await pause(for: .max)
        guard !answer.isOver else { return }
        var told: [NodeID: (link: WorkLink, id: UInt64)] = [:]
        // All of it, for one who begins to stand by later.
        var whole: [GenerationEvent] = []
        while !answer.isOver {
            let news = answer.takeUntold()
            for event in news { whole.append(joining: event) }
            var request = request
            request.standbys = await hosts(request.question)
            for node in request.standbys {
                if let known = told[node], await known.link.tell(news, of: known.id) { continue }
                told[node] = await begin(with: node, request, whole)
            }
            for (node, known) in told where !request.standbys.contains(node) {
                await known.link.release(known.id)
                told[node] = nil
            }
            await pause(for: told.isEmpty ? .max : Limits.standbyEvents)
        }
        for known in told.values { await known.link.release(known.id) }
    }

    private func begin(
        with node: NodeID, _ request: StandbyRequest, _ events: [GenerationEvent]
    ) async -> (WorkLink, UInt64)? {
        guard let link = try? await links.link(with: node), let id = try? await link.standBy(for: request),
            await link.tell(events, of: id)
        else { return nil }  // gone, or full: it is asked again with the next news
        return (link, id)
    }

    /// The interval between two tellings, shorter where `pieces` more have come.
    private func pause(for pieces: Int) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: Limits.standbyInterval) }  // cancelled by the other
            group.addTask { await answer.untold(pieces) }
            await group.next()
            group.cancelAll()
        }
    }
}
