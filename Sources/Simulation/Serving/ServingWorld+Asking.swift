import Core
import Swarm

/// What the dispatcher of the asked host does: `Dispatcher` and `TravellingAnswer`.
extension ServingWorld {
    mutating func ask(_ number: Int) {
        let up = hosts.indices.filter { hosts[$0].isUp }
        // A client that reaches nobody comes again.
        guard !up.isEmpty else { return queue.add(.ask(number), at: now + .seconds(1)) }
        if !hosts[asks[number].host].isUp { asks[number].host = up[chance.below(up.count)] }
        let host = asks[number].host
        var request = GenerationRequest(
            messages: [Message(.user, "\(number)")], maximumTokens: asks[number].tokens)
        request.ticket = Ticket(
            caller: asks[number].caller, priority: asks[number].priority, patience: asks[number].patience)
        begin(number, request, inherited: nil, at: host)
    }

    mutating func begin(_ ask: Int, _ request: GenerationRequest, inherited: ServingHost.Held?, at host: Int) {
        lastAnswer += 1
        let node = choose(at: host, without: []) ?? hosts[host].node
        var answer = ServingHost.Answer(
            ask: ask, journey: AnswerJourney(at: node, goesOn: true), request: request, since: now, place: .nowhere)
        if let inherited {
            report.takenUp += 1
            if !inherited.text.isEmpty { try? answer.journey.inherit(.text(inherited.text)) }
            answer.untold = inherited.text
            _ = answer.journey.takenUp(
                from: inherited.writer, by: hosts[index(of: node)].capabilities, for: request)
        }
        hosts[host].answers[lastAnswer] = answer
        write(lastAnswer, at: host)
    }

    /// The client goes away.
    mutating func leave(_ ask: Int) {
        guard asks[ask].end == nil, !asks[ask].isAway else { return }
        let host = asks[ask].host
        for (id, answer) in hosts[host].answers where answer.ask == ask {
            stop(id, at: host)
            settle(id, .withdrawn, at: host)
            release(id, at: host)
            hosts[host].answers[id] = nil
        }
        end(ask, .left)
    }

    private func candidates(at host: Int) -> [RouteCandidate] {
        let model = HostedModel(
            name: Self.model, engine: "builtin", state: EngineState.ready.word,
            capabilities: hosts[host].capabilities.map(\.rawValue))
        return hosts.indices.compactMap { other in
            let node = hosts[other].node
            guard !hosts[host].gone.contains(node) else { return nil }
            let load = other == host ? hosts[host].load : hosts[host].loads[node]?.load
            return RouteCandidate(
                node: node, isSelf: other == host, model: model, load: load, roundTrip: .milliseconds(1))
        }
    }

    private mutating func choose(at host: Int, without: Set<NodeID>) -> NodeID? {
        let question = RouteQuestion(model: Self.model, without: without)
        let candidates = candidates(at: host)
        let choice = hosts[host].router.choose(question, among: candidates, at: now).node
        let node = bug == .deafBreaker ? candidates.first { !without.contains($0.node) }?.node : choice
        if let node, !hosts[host].router.breaker(Self.model, on: node).admits(at: now) {
            report.violated("S6", "host \(host) sends a request where its breaker is open", at: now)
        }
        return node
    }

    /// Those who would be chosen, as balance and failover ask.
    func eligible(at host: Int) -> Set<NodeID> {
        Set(hosts[host].router.explain(RouteQuestion(model: Self.model), among: candidates(at: host), at: now).eligible)
    }

    /// The present host is asked to write, or to go on.
    private mutating func write(_ id: Int, at host: Int) {
        guard var answer = hosts[host].answers[id] else { return }
        let target = index(of: answer.journey.host)
        hosts[host].router.began(Self.model, on: answer.journey.host, at: now)
        answer.isCounted = true
        let request = answer.journey.request(answer.request, waited: now - answer.since)
        hosts[host].answers[id] = answer
        if target == host {
            let job = enter(request, of: answer.ask, for: .answer(id), at: host)
            if let job, hosts[host].answers[id] != nil { hosts[host].answers[id]?.place = .here(job: job) }
        } else if let (link, number) = submit(.generate(request), from: host, to: target) {
            links[link].answers[number] = id
            hosts[host].answers[id]?.place = .there(link: link, id: number)
        } else {
            fail(id, RuntimeError(.overloaded, "too much is open"), at: host)
        }
    }

    /// The next of an answer has come.
    mutating func take(_ event: GenerationEvent, of id: Int, at host: Int) {
        guard var answer = hosts[host].answers[id] else { return }
        do {
            let fresh = try answer.journey.take(event)
            if case .text(let text)? = fresh {
                answer.untold += text
                hosts[host].answers[id] = answer
                give(text, of: answer.ask, at: host)
            }
            hosts[host].answers[id] = answer
        } catch {
            stop(id, at: host)
            return fail(id, error, at: host)
        }
        guard answer.journey.soFar.isFinished else { return }
        settle(id, .answered, at: host)
        release(id, at: host)
        hosts[host].answers[id] = nil
        let text = answer.journey.soFar.message.text
        keep(answer.ask, text, at: host)
        for other in hosts.indices where other != host {
            queue.add(.kept(host: other, ask: answer.ask, text), at: now + wire.tailed(.milliseconds(2)))
        }
        if isAttached(answer.ask, to: host) { end(answer.ask, .answered) }
    }

    /// A host's store has the whole answer.
    mutating func keep(_ ask: Int, _ text: String, at host: Int) {
        guard hosts[host].isUp, hosts[host].thaws == nil else {
            return queue.add(.kept(host: host, ask: ask, text), at: now + .milliseconds(500))
        }
        hosts[host].kept[ask] = text
        guard asks[ask].isAway, asks[ask].end == nil else { return }
        asks[ask].received = text
        end(ask, .answered)
    }

    /// The writer has failed, or the request has left its queue.
    mutating func fail(_ id: Int, _ error: RuntimeError, at host: Int) {
        guard var answer = hosts[host].answers[id] else { return }
        hosts[host].answers[id]?.place = .nowhere
        if answer.journey.soFar.isEmpty, let exit = error.cause as? QueueExit {
            settle(id, .withdrawn, at: host)
            return waitElsewhere(id, exit, error, at: host)
        }
        let cause = Failover.Cause(of: error)
        settle(id, cause == nil ? .withdrawn : .failed, at: host)
        guard let cause, answer.journey.failed(cause) else { return giveUp(id, .failed, at: host) }
        answer.place = .nowhere
        answer.isCounted = false
        let next = successor(of: answer, at: host)
        guard let next else {
            hosts[host].answers[id] = answer
            return giveUp(id, .failed, at: host)
        }
        _ = answer.journey.move(to: next, cause, by: hosts[index(of: next)].capabilities, for: answer.request)
        report.failovers += 1
        hosts[host].answers[id] = answer
        write(id, at: host)
    }

    /// As `Dispatcher.successor` finds it: the router's choice, else whoever there is.
    private mutating func successor(of answer: ServingHost.Answer, at host: Int) -> NodeID? {
        if let chosen = choose(at: host, without: answer.journey.avoided.union([answer.journey.host])) { return chosen }
        let stops = ([hosts[host].node] + hosts.map(\.node).filter { $0 != hosts[host].node }).filter {
            !hosts[host].gone.contains($0)
        }
        return answer.journey.next(among: stops.map { AnswerJourney.Stop(node: $0, isReady: true) })
    }

    private mutating func waitElsewhere(_ id: Int, _ exit: QueueExit, _ error: RuntimeError, at host: Int) {
        guard var answer = hosts[host].answers[id] else { return }
        var next: NodeID?
        do {
            next = try answer.journey.left(exit, error)
        } catch {
            if case .expired = exit { return giveUp(id, .expired, at: host) }
            return giveUp(id, .refused, at: host)
        }
        if let named = next, hosts[host].gone.contains(named) { next = nil }
        if next == nil, answer.journey.mayBeOffered { next = choose(at: host, without: answer.journey.avoided) }
        guard let next else { return giveUp(id, .refused, at: host) }
        answer.journey.wait(at: next)
        answer.place = .nowhere
        answer.isCounted = false
        report.moves += 1
        hosts[host].answers[id] = answer
        write(id, at: host)
    }

    private mutating func giveUp(_ id: Int, _ reason: End, at host: Int) {
        guard let answer = hosts[host].answers[id] else { return }
        release(id, at: host)
        hosts[host].answers[id] = nil
        if isAttached(answer.ask, to: host) {
            end(answer.ask, reason)
        } else if asks[answer.ask].isAway, asks[answer.ask].end == nil {
            // The one who took it up tells whoever comes.
            end(answer.ask, reason)
        }
    }

    /// A host that is being emptied gives its answers away, one event at a time.
    mutating func givesAway(_ id: Int, at host: Int) -> Bool {
        guard hosts[host].isDraining, var answer = hosts[host].answers[id], answer.journey.mayBeGivenAway,
            case .here = answer.place,
            let next = choose(at: host, without: answer.journey.avoided.union([hosts[host].node]))
        else { return false }
        stop(id, at: host)
        settle(id, .withdrawn, at: host)
        answer.place = .nowhere
        answer.isCounted = false
        _ = answer.journey.move(to: next, .drained, by: hosts[index(of: next)].capabilities, for: answer.request)
        hosts[host].answers[id] = answer
        write(id, at: host)
        return true
    }

    private mutating func settle(_ id: Int, _ outcome: Router.Outcome, at host: Int) {
        guard let answer = hosts[host].answers[id], answer.isCounted else { return }
        hosts[host].answers[id]?.isCounted = false
        hosts[host].router.ended(Self.model, on: answer.journey.host, outcome, prefix: PromptPrefix(), at: now)
    }

    /// Nobody reads what is written for it any more.
    private mutating func stop(_ id: Int, at host: Int) {
        guard let answer = hosts[host].answers[id] else { return }
        hosts[host].answers[id]?.place = .nowhere
        switch answer.place {
        case .nowhere: break
        case .here(let job): end(job: job, isServed: false, at: host)
        case .there(let link, let number):
            links[link].answers[number] = nil
            perform(links[link].ledger.abandoned(number, at: now), over: link)
        }
    }
}
