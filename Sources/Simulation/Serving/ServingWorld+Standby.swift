import Core
import Swarm

/// What `StandbyFeed` and `StandbyDesk` do.
extension ServingWorld {
    // MARK: - The writer

    /// Once an answer has taken ``Limits/standbyInterval``, its standbys are told of it as often.
    mutating func tellStandbys(of id: Int, at host: Int) {
        guard let answer = hosts[host].answers[id], now - answer.since >= Limits.standbyInterval else { return }
        let dot = Self.question(answer.ask)
        let living = hosts.map(\.node).filter { $0 != hosts[host].node && !hosts[host].gone.contains($0) }
        let standbys = HashRing(living).owners(of: StandbyRequest.key(of: dot), count: Limits.standbys)
        hosts[host].answers[id]?.untold = ""
        for node in standbys {
            if let (link, number) = hosts[host].answers[id]?.told[node], links[link].isOpen[0],
                links[link].ledger.isOpen(number)
            {
                if !answer.untold.isEmpty, bug != .droppedNews || !wire.hits(1, of: 4) {
                    send(.more(number, .text(answer.untold)), over: link, toServer: true)
                }
                continue
            }
            begin(id, with: node, standbys, at: host)
        }
        for (node, told) in answer.told where !standbys.contains(node) {
            links[told.link].tellings[told.id] = nil
            perform(links[told.link].ledger.abandoned(told.id, at: now), over: told.link)
            hosts[host].answers[id]?.told[node] = nil
        }
    }

    private mutating func begin(_ id: Int, with node: NodeID, _ standbys: [NodeID], at host: Int) {
        guard let answer = hosts[host].answers[id], let conversation = ConversationID("conv_\(answer.ask)") else {
            return
        }
        let facts = AnswerFacts(
            model: Self.model, fingerprint: "", servedBy: answer.journey.host, promptTokens: 1, contextLength: 1,
            included: 1, omitted: 0)
        let request = StandbyRequest(
            question: Self.question(answer.ask), conversation: conversation,
            stream: StreamID(Bytes16(high: 1, low: UInt64(answer.ask))), owner: .local, chain: [], model: Self.model,
            generation: answer.request, facts: facts, standbys: standbys)
        guard let (link, number) = submit(.standBy(request), from: host, to: index(of: node)) else { return }
        links[link].tellings[number] = id
        hosts[host].answers[id]?.told[node] = (link, number)
        let text = answer.journey.soFar.message.text
        if !text.isEmpty { send(.more(number, .text(text)), over: link, toServer: true) }
    }

    /// The answer is over: nobody need stand by.
    mutating func release(_ id: Int, at host: Int) {
        for (_, told) in hosts[host].answers[id]?.told ?? [:] {
            links[told.link].tellings[told.id] = nil
            guard links[told.link].isOpen[0] else { continue }
            perform(links[told.link].ledger.abandoned(told.id, at: now), over: told.link)
        }
        hosts[host].answers[id]?.told = [:]
    }

    // MARK: - Those who stand by

    mutating func standBy(_ number: UInt64, _ request: StandbyRequest, over link: Int) {
        let host = links[link].server
        let writer = hosts[links[link].asker].node
        guard
            hosts[host].standby.stoodBy(for: request.question, of: writer, standbys: request.standbys, bytes: 1_024)
        else {
            links[link].table.ended(number)
            let full = RuntimeError(.overloaded, "too many answers")
            return send(.failed(number, WorkFailure(full)), over: link, toServer: false)
        }
        links[link].standing[number] = request.question
        let ask = Int(request.question.sequence) - 1
        hosts[host].held[request.question] = ServingHost.Held(ask: ask, text: "", writer: writer)
    }

    mutating func more(_ number: UInt64, _ event: GenerationEvent, over link: Int) {
        let host = links[link].server
        guard let dot = links[link].standing[number], case .text(let text) = event else { return }
        if hosts[host].standby.grew(dot, of: hosts[links[link].asker].node, by: text.utf8.count) {
            hosts[host].held[dot]?.text += text
        } else if !hosts[host].standby.holds(dot) {
            hosts[host].held[dot] = nil
        }
    }

    /// Takes up what is due.
    mutating func standBy(at host: Int) {
        let living = Set(hosts.map(\.node)).subtracting(hosts[host].gone)
        for dot in hosts[host].standby.ticked(at: now, living: living) where bug != .forgottenStandby {
            guard let held = hosts[host].held.removeValue(forKey: dot), hosts[host].kept[held.ask] == nil,
                asks[held.ask].end != .left
            else { continue }
            var request = GenerationRequest(
                messages: [Message(.user, "\(held.ask)")], maximumTokens: asks[held.ask].tokens)
            request.ticket = Ticket(caller: asks[held.ask].caller, priority: asks[held.ask].priority)
            begin(held.ask, request, inherited: held, at: host)
        }
    }
}
