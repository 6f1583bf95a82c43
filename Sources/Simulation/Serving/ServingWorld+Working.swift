import Core
import Swarm

/// What `WorkLink`, `WorkDesk` and `QueuedEngine` do.
extension ServingWorld {
    // MARK: - Links

    /// Asks another host; nil where too much is open.
    mutating func submit(_ work: Work, from host: Int, to target: Int) -> (link: Int, id: UInt64)? {
        let link = link(from: host, to: target)
        guard let (id, actions) = links[link].ledger.asked(work, of: Self.model, at: now) else { return nil }
        perform(actions, over: link)
        return (link, id)
    }

    private mutating func link(from host: Int, to target: Int) -> Int {
        if let known = hosts[host].links[hosts[target].node], links[known].isOpen[0] { return known }
        links.append(
            ServingLink(
                asker: host, askerLife: hosts[host].life, server: target, serverLife: hosts[target].life,
                ledger: WorkLedger(at: now)))
        hosts[host].links[hosts[target].node] = links.count - 1
        // Nobody listens there: the dial fails.
        if !hosts[target].isUp { close(links.count - 1, atServer: false) }
        return links.count - 1
    }

    mutating func send(_ message: WorkMessage, over id: Int, toServer: Bool) {
        let link = links[id]
        let side = toServer ? 1 : 0
        guard link.isOpen[1 - side] else { return }
        let bytes = message.encoded
        if isCut(link.asker, link.server) || !link.heldBack[side].isEmpty {
            links[id].heldBack[side].append(bytes)
            return
        }
        let arrival = max(now + wire.tailed(.milliseconds(1)), link.lastArrival[side])
        links[id].lastArrival[side] = arrival
        queue.add(.message(link: id, toServer: toServer, bytes), at: arrival)
    }

    mutating func releaseHeldBack() {
        for id in links.indices where !isCut(links[id].asker, links[id].server) {
            for side in 0..<2 {
                for bytes in links[id].heldBack[side] {
                    let arrival = max(now + wire.tailed(.milliseconds(200)), links[id].lastArrival[side])
                    links[id].lastArrival[side] = arrival
                    queue.add(.message(link: id, toServer: side == 1, bytes), at: arrival)
                }
                links[id].heldBack[side] = []
            }
        }
    }

    /// One side is told that the other has gone: at once, or when its system gives up where the path is cut.
    mutating func close(_ id: Int, atServer: Bool) {
        let delay = isCut(links[id].asker, links[id].server) ? Duration.seconds(10) : wire.tailed(.milliseconds(2))
        queue.add(.closed(link: id, atServer: atServer), at: now + delay)
    }

    mutating func received(_ bytes: [UInt8], over id: Int, atServer: Bool) {
        guard links[id].isOpen[atServer ? 1 : 0] else { return }
        guard let message = try? WorkMessage.decode(bytes) else {
            return report.violated("wire", "a message of work cannot be read", at: now)
        }
        if atServer {
            perform(links[id].table.received(message), over: id)
        } else {
            perform(links[id].ledger.received(message, bytes: bytes.count, at: now), over: id)
        }
    }

    mutating func tickLinks(of host: Int) {
        for id in hosts[host].links.values.sorted() where links[id].isOpen[0] {
            perform(links[id].ledger.ticked(at: now), over: id)
        }
    }

    /// The side notices that the link is over.
    mutating func lost(_ id: Int, atServer: Bool) { over(id, atServer: atServer, isSilent: false) }

    private mutating func over(_ id: Int, atServer: Bool, isSilent: Bool) {
        let side = atServer ? 1 : 0
        guard links[id].isOpen[side] else { return }
        links[id].isOpen[side] = false
        if links[id].isOpen[1 - side] { close(id, atServer: !atServer) }
        let link = links[id]
        if atServer {
            for job in link.jobs.values.sorted() { end(job: job, isServed: false, at: link.server) }
            for dot in link.standing.values.sorted() {
                hosts[link.server].standby.lostLink(dot, of: hosts[link.asker].node, at: now)
            }
            links[id].jobs = [:]
            links[id].standing = [:]
            return
        }
        if hosts[link.asker].links[hosts[link.server].node] == id {
            hosts[link.asker].links[hosts[link.server].node] = nil
        }
        let node = hosts[link.server].node
        for answer in hosts[link.asker].answers.keys where hosts[link.asker].answers[answer]?.told[node]?.link == id {
            hosts[link.asker].answers[answer]?.told[node] = nil
        }
        links[id].answers = [:]
        let gone = RuntimeError(.unavailable, "the host is gone", cause: HostGone(isSilent: isSilent))
        if bug == .unheardEnd { return }
        for answer in link.answers.values.sorted() { fail(answer, gone, at: link.asker) }
    }

    // MARK: - The asker

    mutating func perform(_ actions: [WorkLedger.Action], over id: Int) {
        let host = links[id].asker
        for action in actions {
            switch action {
            case .send(let message): send(message, over: id, toServer: true)
            case .deliver(let number, let event, let bytes):
                guard let answer = links[id].answers[number] else { continue }
                take(event, of: answer, at: host)
                perform(links[id].ledger.consumed(number, bytes), over: id)
            case .end(let number): links[id].answers[number] = nil
            case .finish: break
            case .fail(let number, let failure):
                if let answer = links[id].tellings.removeValue(forKey: number) {
                    // It stands by no longer: asked again with the next news.
                    let node = hosts[links[id].server].node
                    hosts[host].answers[answer]?.told[node] = nil
                } else if let answer = links[id].answers.removeValue(forKey: number) {
                    fail(answer, failure.error, at: host)
                }
            case .silent: over(id, atServer: false, isSilent: true)
            case .condemn(let reason): report.violated("wire", "a host breaks the rules: \(reason)", at: now)
            }
        }
    }

    // MARK: - The server

    private mutating func perform(_ actions: [WorkTable.Action], over id: Int) {
        let host = links[id].server
        for action in actions {
            switch action {
            case .send(let message): send(message, over: id, toServer: false)
            case .begin(let number, _, .standBy(let request)): standBy(number, request, over: id)
            case .begin(let number, _, .generate(let request)):
                let ask = Int(request.messages.first?.text ?? "") ?? 0
                if let job = enter(request, of: ask, for: .link(id, number), at: host) { links[id].jobs[number] = job }
            case .begin: break
            case .cancel(let number):
                if let job = links[id].jobs.removeValue(forKey: number) { end(job: job, isServed: false, at: host) }
                if let dot = links[id].standing.removeValue(forKey: number),
                    hosts[host].standby.released(dot, by: hosts[links[id].asker].node)
                {
                    hosts[host].held[dot] = nil
                }
            case .resume(let number):
                guard let job = links[id].jobs[number], hosts[host].jobs[job]?.isPaused == true else { continue }
                hosts[host].jobs[job]?.isPaused = false
                write(job, at: host)
            case .more(let number, let event): more(number, event, over: id)
            case .condemn(let reason): report.violated("wire", "a host breaks the rules: \(reason)", at: now)
            }
        }
    }

    // MARK: - The queue and its engine

    /// Returns the job, which may have ended already.
    mutating func enter(
        _ request: GenerationRequest, of ask: Int, for reader: ServingHost.Job.Reader, at host: Int
    ) -> UInt64? {
        hosts[host].lastJob += 1
        let job = hosts[host].lastJob
        let written = bug == .begunAgain ? 0 : request.partial?.count { $0 == " " } ?? 0
        hosts[host].jobs[job] = ServingHost.Job(
            ask: ask, reader: reader, caller: request.ticket.caller, priority: request.ticket.priority, next: written,
            entered: now)
        // Its place must be known before it can fail.
        switch reader {
        case .answer(let id): hosts[host].answers[id]?.place = .here(job: job)
        case .link(let link, let number): links[link].jobs[number] = job
        }
        let entry = ModelQueue.Request(
            id: job, caller: request.ticket.caller, priority: request.ticket.priority, cost: request.maximumTokens,
            deadline: request.ticket.patience.map { now + $0 }, mayMove: request.ticket.moves < Limits.queueMoves)
        perform(hosts[host].queue.entered(entry, at: now), at: host)
        return hosts[host].jobs[job] == nil ? nil : job
    }

    mutating func perform(_ actions: [ModelQueue.Action], at host: Int) {
        for action in actions {
            switch action {
            case .start(let job):
                begun(job, at: host)
            case .refuse(let job, let position, let wait):
                drop(
                    job, RuntimeError(.overloaded, "full", retryAfter: wait, cause: QueueExit.full(position: position)),
                    at: host)
            case .expire(let job, let position):
                drop(job, RuntimeError(.timedOut, "late", cause: QueueExit.expired(position: position)), at: host)
            case .move(let job, let node, _):
                report.steals += 1
                served(hosts[host].jobs[job], at: host)
                drop(job, RuntimeError(.overloaded, "moved", cause: QueueExit.moved(to: node)), at: host)
            }
        }
        check(host)
    }

    private mutating func begun(_ job: UInt64, at host: Int) {
        guard hosts[host].jobs[job] != nil else { return }
        served(hosts[host].jobs[job], at: host)
        hosts[host].jobs[job]?.isRunning = true
        queue.add(.token(host: host, life: hosts[host].life, job: job), at: now + hosts[host].pace)
    }

    /// The next token of a job.
    mutating func write(_ job: UInt64, at host: Int) {
        guard let entry = hosts[host].jobs[job], entry.isRunning, !entry.isPaused else { return }
        if hosts[host].isBroken { return drop(job, RuntimeError(.engineFailed, "broken"), at: host) }
        let total = asks[entry.ask].tokens
        let event: GenerationEvent =
            entry.next < total
            ? .text(Self.token(entry.ask, entry.next))
            : .finished(reason: .stop, usage: TokenUsage(promptTokens: 1, completionTokens: total))
        switch entry.reader {
        case .answer(let id):
            if givesAway(id, at: host) { return }
            advance(job, total, at: host)
            take(event, of: id, at: host)
        case .link(let link, let number):
            // A host that is being emptied gives away what it writes for others too.
            if hosts[host].isDraining, !eligible(at: host).subtracting([hosts[host].node]).isEmpty {
                return drop(job, RuntimeError(.unavailable, "it is draining"), at: host)
            }
            guard !links[link].table.isFull(number) else {
                hosts[host].jobs[job]?.isPaused = true
                return
            }
            let message = WorkMessage.event(number, event)
            links[link].table.sent(number, message.encoded.count)
            send(message, over: link, toServer: false)
            if entry.next >= total { links[link].table.ended(number) }
            advance(job, total, at: host)
        }
    }

    private mutating func advance(_ job: UInt64, _ total: Int, at host: Int) {
        guard let entry = hosts[host].jobs[job] else { return }
        hosts[host].jobs[job]?.next += 1
        if entry.next >= total {
            end(job: job, isServed: true, at: host)
        } else {
            queue.add(.token(host: host, life: hosts[host].life, job: job), at: now + hosts[host].pace)
        }
    }

    /// It fails, or leaves the queue.
    private mutating func drop(_ job: UInt64, _ error: RuntimeError, at host: Int) {
        guard let entry = hosts[host].jobs[job] else { return }
        end(job: job, isServed: false, at: host)
        switch entry.reader {
        case .answer(let id): fail(id, error, at: host)
        case .link(let link, let number):
            links[link].table.ended(number)
            send(.failed(number, WorkFailure(error)), over: link, toServer: false)
        }
    }

    mutating func end(job: UInt64, isServed: Bool, at host: Int) {
        guard let entry = hosts[host].jobs.removeValue(forKey: job) else { return }
        if case .link(let link, let number) = entry.reader { links[link].jobs[number] = nil }
        if entry.isRunning { longestService = max(longestService, now - entry.entered) }
        perform(hosts[host].queue.left(job, used: isServed ? entry.next : nil, at: now), at: host)
    }

    mutating func balance(_ host: Int) {
        guard hosts[host].queue.waitingCount > 0 else { return }
        let able = eligible(at: host).subtracting([hosts[host].node])
        let helpers = able.sorted().compactMap { node -> ModelQueue.Helper? in
            guard let (load, telling) = hosts[host].loads[node], let work = load[Self.model] else { return nil }
            let busy = work.running + work.waiting
            return ModelQueue.Helper(
                node: node, free: max(0, work.slots - busy),
                isCold: Double(busy) < HostLoad.cold * Double(work.slots), telling: telling)
        }
        let isHot = hosts[host].load.processor > HostLoad.hot
        perform(hosts[host].queue.compared(with: helpers, isHot: isHot, at: now), at: host)
    }

    // MARK: - What must hold

    private mutating func served(_ job: ServingHost.Job?, at host: Int) {
        guard let job, !job.isRunning else { return }
        hosts[host].lanes[ServingHost.Lane(caller: job.caller, priority: job.priority)] = now
    }

    /// S4: no more run than may, none waits while a slot is free. S5: none waits longer than its class's bound.
    private mutating func check(_ host: Int) {
        let (running, waiting) = (hosts[host].queue.runningCount, hosts[host].queue.waitingCount)
        if running > hosts[host].slots { report.violated("S4", "host \(host) writes \(running) at once", at: now) }
        if waiting > hosts[host].queue.length { report.violated("S4", "\(waiting) wait at host \(host)", at: now) }
        if waiting > 0, running < hosts[host].slots {
            report.violated("S4", "a slot of host \(host) is free and \(waiting) wait", at: now)
        }
        guard waiting > 0 else { return }
        var lanes: [ServingHost.Lane: Duration] = [:]
        for job in hosts[host].jobs.values where !job.isRunning {
            let lane = ServingHost.Lane(caller: job.caller, priority: job.priority)
            let since = max(hosts[host].lanes[lane] ?? .zero, min(lanes[lane] ?? job.entered, job.entered))
            lanes[lane] = since
        }
        mostLanes = max(mostLanes, lanes.count)
        // A turn is at most one whole answer; while the host stood still nobody had one.
        let turn = hosts[host].pace * 152
        for (lane, since) in lanes where hosts[host].disturbed < since {
            let bound = ModelQueue.aging(of: lane.priority) + turn * (ModelQueue.relief * (mostLanes + 1))
            if now - since > bound {
                report.violated(
                    "S5", "a request of class \(lane.priority) waited for \(now - since) at host \(host)", at: now)
            }
        }
    }
}
