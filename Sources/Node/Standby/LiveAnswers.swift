package import Core
internal import Swarm

/// The answers that are written for clients of this host, by their questions; and those who stand by for them.
package actor LiveAnswers {
    private let node: NodeID
    private let living: @Sendable () async -> Set<NodeID>
    /// Nil where this host stands alone.
    private var links: WorkLinks?
    private var answers: [Dot: LiveAnswer] = [:]
    package nonisolated let desk: StandbyDesk

    /// - Parameter living: the hosts of the swarm that are alive.
    package init(node: NodeID, living: @escaping @Sendable () async -> Set<NodeID> = { [] }) {
        self.node = node
        self.living = living
        desk = StandbyDesk(node: node, living: living)
    }

    /// From now on other hosts stand by for the answers of this one.
    package func open(_ links: WorkLinks) { self.links = links }

    // MARK: Answers of this host

    /// An answer begins. `came` is what was written of it before, where it is taken up.
    func begin(_ request: StandbyRequest, came: [GenerationEvent] = []) -> LiveAnswer {
        let answer = LiveAnswer(request.facts)
        for event in came { answer.add(event) }
        answers[request.question] = answer
        if let links { Task { await StandbyFeed(answer, request, links, hosts: standbys).run() } }
        return answer
    }

    func end(_ answer: LiveAnswer, to question: Dot, _ error: (any Error)? = nil) {
        answer.finish(error)
        if answers[question] === answer { answers[question] = nil }
    }

    subscript(question: Dot) -> LiveAnswer? { answers[question] }

    private func standbys(of question: Dot) async -> [NodeID] {
        HashRing(await living().subtracting([node])).owners(
            of: StandbyRequest.key(of: question), count: Limits.standbys)
    }

    // MARK: Answers by their questions

    /// What is known here of an answer that is written, or stood by for.
    func facts(of question: Dot) async -> AnswerFacts? {
        if let answer = answers[question] { return answer.facts }
        return await desk.facts(of: question)
    }

    /// The answer as this host writes it, from its beginning; one that it stands by for once it has taken it up. Nil
    /// where it does neither.
    func follow(_ question: Dot) async -> LiveAnswer.Follower? {
        if let answer = answers[question] { return answer.follow() }
        await desk.decided(question)
        return answers[question]?.follow()
    }

    /// The answer to a question, wherever in the swarm it is written. Nil where nobody knows of it.
    ///
    /// - Parameter kept: the whole answer once the conversation has it.
    func find(
        _ question: Dot, kept: @escaping @Sendable () async -> [GenerationEvent]?
    ) async -> FollowedAnswer? {
        var facts = await facts(of: question)
        if facts == nil { facts = await place(of: question)?.facts }
        return facts.map { FollowedAnswer(question, $0, by: self, kept: kept) }
    }

    /// Another host that is alive.
    func isLiving(_ host: NodeID) async -> Bool {
        guard host != node else { return false }
        return await living().contains(host)
    }

    /// Another host that knows of an answer, and what it tells of it.
    func place(of question: Dot) async -> (node: NodeID, link: WorkLink, facts: AnswerFacts)? {
        guard let links else { return nil }
        let living = await living().subtracting([node])
        var nodes = living.contains(question.origin.node) ? [question.origin.node] : []
        nodes += HashRing(living).owners(of: StandbyRequest.key(of: question), count: 2 * Limits.standbys)
            .filter { $0 != question.origin.node }
        for node in nodes {
            guard let link = try? await links.link(with: node),
                case .found(let facts?) = try? await link.ask(.find(question), of: "")
            else { continue }  // gone, or it knows nothing: the next one may
            return (node, link, facts)
        }
        return nil
    }
}
