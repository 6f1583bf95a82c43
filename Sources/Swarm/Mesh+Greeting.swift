internal import Core

/// From the open link to the one that is used.
extension Mesh {
    mutating func open(_ number: LinkNumber, _ link: Link, _ now: Duration, _ wallClock: UInt64) {
        links[number] = link
        guard isWelcome(link) else {
            if link.isDialed { fail(link.address, LinkFailure(.unreachable, Self.farAdvice), now) }
            return close(number, now)
        }
        guard link.isDialed else { return }
        var dialer = dials[link.address]
        if let id = dialer, let sought = entries[id]?.host.node, sought != link.node {
            fail(link.address, LinkFailure(.unreachable, "Another host answers at \(link.address)."), now)
            dialer = nil
        } else if let id = dialer {
            dials[link.address] = nil
            entries[id]?.dialing -= 1
        }
        guard !denied.contains(link.node) else { return close(number, now) }
        // One more address of a host that was dialed at several.
        if let dialer, dialer == byNode[link.node], holdsLink(link.node) { return close(number, now) }
        if link.node == identity.node || holdsLink(link.node) {
            // This host itself, one more address of a linked one, or a clone: it will say.
            links[number]?.stage = .inquiry
            links[number]?.dialer = dialer
            return greet(number, wallClock)
        }
        guard bind(link.address, to: link.node, now: now) != nil else { return close(number, now) }
        if let dialer, entries[dialer]?.isDouble == true { remove(dialer) }
        let isGreeting = links.contains { other, link in
            other != number && link.isDialed && link.stage == .greeting && link.node == links[number]?.node
        }
        if isGreeting { close(number, now) } else { greet(number, wallClock) }
    }

    /// An open swarm is everyone's, so it ends with the LAN: who comes from elsewhere is let in only where an operator
    /// named the address.
    private func isWelcome(_ link: Link) -> Bool {
        identity.security == .key || link.address.isNear
            || entries.values.contains { $0.configured.contains(link.address) }
    }

    private static let farAdvice =
        "Its address is no private one, and an open swarm ends with the LAN: use a key instead of mcp.open."

    private func holdsLink(_ node: NodeID) -> Bool { usedLink(node) != nil }
    func usedLink(_ node: NodeID) -> LinkNumber? { byNode[node].flatMap { entries[$0]?.host.link } }

    private mutating func greet(_ number: LinkNumber, _ wallClock: UInt64) {
        guard var link = links[number] else { return }
        if link.isDialed {
            lastAttempt += 1
            link.attempt = lastAttempt
            links[number] = link
        }
        let taken = byNode[link.node].flatMap { entries[$0]?.taken } ?? 0
        let reached =
            link.isDialed
            ? link.address : link.greeting.map { NetworkAddress(host: link.address.host, port: $0.port) }
        let greeting = Greeting(
            instance: identity.instance, started: identity.started, wallClock: wallClock, name: identity.name,
            version: identity.version, security: identity.security, port: identity.port,
            addresses: addresses, attempt: link.attempt, taken: taken, reached: reached,
            isInquiry: link.stage == .inquiry)
        effects.append(.send(number, .greeting(greeting)))
    }

    // MARK: - Messages

    mutating func receive(_ number: LinkNumber, _ message: MeshMessage, _ now: Duration, _ wallClock: UInt64) {
        guard let link = links[number] else { return }
        switch message {
        case .greeting(let greeting):
            guard link.stage == .inquiry || link.stage == .greeting, link.greeting == nil else { return }
            links[number]?.greeting = greeting
            if greeting.protocolVersion != Greeting.currentProtocol {
                refuse(number, .version, now)
                let words = "It speaks protocol \(greeting.protocolVersion) and this host \(Greeting.currentProtocol): "
                if let id = byNode[link.node] { stand(id, .incompatible, words + "install the same version on both.") }
            } else if link.isDialed {
                answered(number, greeting, now, wallClock)
            } else {
                greeted(number, greeting, now, wallClock)
            }
        case .refusal(let refusal):
            if link.isDialed, link.stage == .greeting { refused(number, refusal, now) }
            if link.stage == .used, refusal == .full {
                part(number, now)
                effects.append(.full(link.node))
            }
            close(number, now)
        case .ping(let token): if link.stage == .used { effects.append(.send(number, .pong(token))) }
        case .pong(let token):
            guard let ping = link.ping, ping.token == token, let id = byNode[link.node] else { return }
            links[number]?.ping = nil
            let trip = now - ping.sent
            let former = entries[id]?.host.roundTrip
            entries[id]?.host.roundTrip = former.map { ($0 * 3 + trip) / 4 } ?? trip
            entries[id]?.host.lastSeen = now
            settleContention(against: number, now)
        }
    }

    /// The other side dialed and greets.
    private mutating func greeted(_ number: LinkNumber, _ greeting: Greeting, _ now: Duration, _ wallClock: UInt64) {
        guard let link = links[number] else { return }
        if link.node == identity.node {
            guard greeting.instance != identity.instance else { return greet(number, wallClock) }
            noteClone(link, greeting, now)
            return greeting.isInquiry ? greet(number, wallClock) : refuse(number, .cloned, now)
        }
        guard !denied.contains(link.node) else { return refuse(number, .evicted, now) }
        guard !greeting.isInquiry else { return greet(number, wallClock) }
        links[number]?.attempt = greeting.attempt
        if let former = usedLink(link.node), let old = links[former], let known = old.greeting {
            if known.instance != greeting.instance {
                links[number]?.stage = .contending
                links[number]?.deadline = now + Self.contentionDeadline
                return ping(former, now)
            }
            let isLater = old.isDialed ? greeting.taken >= old.attempt : greeting.attempt > old.attempt
            guard isLater else { return refuse(number, .redundant, now) }
        } else if !hasRoom(for: link.node) {
            return refuse(number, .full, now)
        }
        let own = links.keys.sorted().first { other in
            guard let pending = links[other] else { return false }
            return pending.isDialed && pending.stage == .greeting && pending.node == link.node
        }
        if let own {
            // One that is answered late may lead to a clone that is dead by now.
            let isFresh = links[own].map { now - $0.opened < Self.contentionDeadline } ?? false
            if isFresh, identity.node < link.node { return refuse(number, .redundant, now) }
            drop(own)
        }
        adopt(number, greeting, now, wallClock)
    }

    /// This host dialed, and the other side answers.
    private mutating func answered(_ number: LinkNumber, _ greeting: Greeting, _ now: Duration, _ wallClock: UInt64) {
        guard let link = links[number] else { return }
        if link.stage == .greeting { return adopt(number, greeting, now, wallClock) }
        if greeting.instance == identity.instance, link.node == identity.node {
            mirrors.insert(link.address)
            forgetDialer(of: link)
            if let id = byAddress[link.address] { forget(link.address, of: id) }
            return close(number, now)
        }
        if link.node == identity.node {
            forgetDialer(of: link)
            noteClone(link, greeting, now)
            return close(number, now)
        }
        guard let former = usedLink(link.node), let known = links[former]?.greeting else {
            // The link that stood in the way is gone.
            forgetDialer(of: link)
            close(number, now)
            if let id = byNode[link.node] { schedule(id, after: .zero, now) }
            return
        }
        forgetDialer(of: link)
        if known.instance == greeting.instance {
            if let id = bind(link.address, to: link.node, now: now) { entries[id]?.host.lastSeen = now }
            close(number, now)
        } else {
            links[number]?.stage = .contending
            links[number]?.deadline = now + Self.contentionDeadline
            ping(former, now)
        }
    }

    private mutating func refused(_ number: LinkNumber, _ refusal: MeshMessage.Refusal, _ now: Duration) {
        guard let link = links.removeValue(forKey: number) else { return }
        effects.append(.close(number))
        guard let id = byNode[link.node], entries[id]?.host.link == nil else { return }
        entries[id]?.failures += 1
        let pause =
            switch refusal {
            case .redundant: backoff(entries[id]?.failures ?? 1)
            case .full: max(Self.leastPause, backoff(entries[id]?.failures ?? 1))
            case .cloned, .evicted, .version: Self.backoff.last
            }
        let isCold = entries[id]?.isCold == true
        nextDials[id] = isCold ? nil : now + pause
        switch refusal {
        case .redundant: break
        case .cloned:
            stand(
                id, .cloned,
                "It is linked with another living host that has this host's identity. Was this one's state directory "
                    + "copied? Stop one of the two, delete node.key in its state directory and start it again.")
        case .evicted:
            stand(id, .evicted, "It refuses this host: it was evicted from the swarm. Ask who runs it.")
            evicted()
        case .version: stand(id, .incompatible, "It speaks another protocol: install the same version on both.")
        case .full:
            stand(id, .connecting, "It has as many links as it keeps; others pass on what it says.")
            effects.append(.full(link.node))
        }
    }

    private mutating func refuse(_ number: LinkNumber, _ refusal: MeshMessage.Refusal, _ now: Duration) {
        effects.append(.send(number, .refusal(refusal)))
        close(number, now)
    }

    // MARK: - The link in use

    private mutating func adopt(_ number: LinkNumber, _ greeting: Greeting, _ now: Duration, _ wallClock: UInt64) {
        guard var link = links[number] else { return }
        let address =
            link.isDialed ? link.address : NetworkAddress(host: link.address.host, port: greeting.port)
        guard let id = bind(address, to: link.node, now: now) else { return close(number, now) }
        if let former = entries[id]?.host.link, former != number {
            effects.append(.lost(former, link.node, isParting: false))
            drop(former)
        }
        if !link.isDialed { greet(number, wallClock) }
        link.stage = .used
        link.deadline = now
        links[number] = link
        guard var entry = entries[id] else { return }
        entry.listened = address
        entry.taken = link.isDialed ? entry.taken : max(entry.taken, greeting.attempt)
        nextDials[id] = nil
        entry.untried = []
        entry.isCold = false
        entry.isBroken = false
        entry.host.link = number
        entry.host.instance = greeting.instance
        entry.host.swarm = link.swarm
        entry.host.security = greeting.security
        entry.host.name = greeting.name
        entry.host.version = greeting.version
        entry.host.started = greeting.started
        entry.host.lastSeen = now
        entry.host.roundTrip = nil
        entry.host.clockAtZero = .milliseconds(Int64(clamping: greeting.wallClock)) - now
        entries[id] = entry
        learn(id, greeting.addresses.filter { $0.isNear || entry.configured.contains($0) })
        stand(id, .linked, nil)
        // What was taken for a second run of it is the one that is linked now.
        if let double = doubles[greeting.instance], double != id { remove(double) }
        effects.append(.adopted(number, link.node, greeting))
        if let reached = greeting.reached { reachedAt(reached) }
        for other in links.keys.sorted() where other != number {
            guard let pending = links[other], pending.node == link.node, pending.isDialed, pending.stage == .greeting
            else { continue }
            drop(other)
        }
    }

    /// The other side knows an address of this host that it did not know itself (a container's host, say).
    private mutating func reachedAt(_ address: NetworkAddress) {
        guard address.isNear, !addresses.contains(address), addresses.count < Limits.memberAddresses,
            !address.isLoopback || identity.addresses.allSatisfy(\.isLoopback)
        else { return }
        reachedAddresses.append(address)
        effects.append(.reachable(addresses))
    }

    mutating func ping(_ number: LinkNumber, _ now: Duration) {
        lastToken += 1
        links[number]?.ping = Ping(token: lastToken, sent: now)
        let isContested = links[number].map { hasClone($0.node) } ?? false
        let next = now + jittered(isContested ? Self.contestedPingInterval : Self.pingInterval)
        links[number]?.deadline = next
        effects.append(.send(number, .ping(lastToken)))
    }

    // MARK: - Two hosts with one identity

    /// Not the run of `node` that is known: another one.
    func isDouble(_ node: NodeID, _ instance: InstanceID) -> Bool {
        if node == identity.node { return instance != identity.instance }
        return usedLink(node).flatMap { links[$0]?.greeting }.map { $0.instance != instance } ?? false
    }

    /// An announcement of another run of a host that is linked: an old one, one after a restart, or a clone. Who is
    /// dialed will say.
    mutating func sightDouble(
        _ node: NodeID, _ instance: InstanceID, _ sighting: Sighting, _ addresses: [NetworkAddress], _ now: Duration
    ) {
        let known = doubles[instance]
        guard let id = known ?? makeEntry(node, addresses, now: now, isDouble: true) else { return }
        doubles[instance] = id
        entries[id]?.host.instance = instance
        entries[id]?.host.version = sighting.version ?? ""
        entries[id]?.host.swarm = sighting.swarm
        let channels = merged(entries[id]?.host.channels ?? [], [sighting.channel])
        entries[id]?.host.channels = channels
        entries[id]?.host.lastSeen = now
        if known == nil { schedule(id, after: .milliseconds(Int.random(in: 0...50, using: &random)), now) }
    }

    /// A second run of it was refused, and is about as far as is known.
    private func hasClone(_ node: NodeID) -> Bool {
        doubles.values.contains { entries[$0]?.host.node == node && entries[$0]?.host.standing == .cloned }
    }

    private mutating func noteClone(_ link: Link, _ greeting: Greeting, _ now: Duration) {
        let address = link.isDialed ? link.address : NetworkAddress(host: link.address.host, port: greeting.port)
        let known = doubles[greeting.instance]
        guard let id = known ?? makeEntry(link.node, [address], now: now, isDouble: true) else { return }
        doubles[greeting.instance] = id
        entries[id]?.host.instance = greeting.instance
        entries[id]?.host.name = greeting.name
        entries[id]?.host.version = greeting.version
        entries[id]?.host.swarm = link.swarm
        entries[id]?.host.security = greeting.security
        entries[id]?.host.started = greeting.started
        entries[id]?.host.lastSeen = now
        nextDials[id] = nil
        let whose = link.node == identity.node ? "this host's identity" : "the identity of a host that is linked"
        stand(
            id, .cloned,
            "\(greeting.name.isEmpty ? "It" : greeting.name) at \(address) runs with \(whose): its state directory is a "
                + "copy. Stop it, delete node.key in that directory and start it again.")
    }

    /// The link in use answered: who contends for its place is a clone.
    private mutating func settleContention(against number: LinkNumber, _ now: Duration) {
        guard let used = links[number] else { return }
        for other in links.keys.sorted() {
            guard let contender = links[other], contender.stage == .contending, contender.node == used.node,
                let greeting = contender.greeting
            else { continue }
            noteClone(contender, greeting, now)
            let next = now + jittered(Self.contestedPingInterval)
            links[number]?.deadline = next
            if contender.isDialed { close(other, now) } else { refuse(other, .cloned, now) }
        }
    }

    /// The one that was linked is dead or not to be found: whoever else has this identity may be all that there is of it.
    mutating func trySecondRuns(of node: NodeID, _ now: Duration) {
        for id in entries.keys.sorted() {
            guard let entry = entries[id], entry.isDouble, entry.host.node == node else { continue }
            schedule(id, after: .zero, now)
        }
    }

    /// It was dialed for what an announcement said; now the host itself spoke.
    private mutating func forgetDialer(of link: Link) {
        guard let id = link.dialer, let entry = entries[id], entry.isDouble, entry.host.standing != .cloned else {
            return
        }
        remove(id)
    }

    private mutating func forget(_ address: NetworkAddress, of id: Int) {
        entries[id]?.host.addresses.removeAll { $0 == address }
        byAddress[address] = nil
        if entries[id]?.host.addresses.isEmpty == true { remove(id) }
    }

    // MARK: - Ends

    /// Closed without a word to anyone: it was not in use, or its end was told.
    private mutating func drop(_ number: LinkNumber) {
        guard links.removeValue(forKey: number) != nil else { return }
        effects.append(.close(number))
    }

    /// This host closes it.
    mutating func close(_ number: LinkNumber, _ now: Duration) {
        guard let link = links.removeValue(forKey: number) else { return }
        effects.append(.close(number))
        ended(number, link, now)
    }

    /// The other side closed it, or it broke.
    mutating func closed(_ number: LinkNumber, _ now: Duration, _ wallClock: UInt64) {
        guard let link = links.removeValue(forKey: number) else { return }
        let contender = links.keys.sorted().first { other in
            links[other]?.stage == .contending && links[other]?.node == link.node && links[other]?.isDialed == false
        }
        ended(number, link, now)
        forgetDialer(of: link)
        if link.stage == .used, let contender, let greeting = links[contender]?.greeting {
            return adopt(contender, greeting, now, wallClock)
        }
        guard link.isDialed, link.stage == .greeting, let id = byNode[link.node], entries[id]?.host.link == nil else {
            return
        }
        giveUpRound(id, LinkFailure(.closed, "It closed the connection before it said who it is."), now)
    }

    /// The overlay has chosen which of too many links ends.
    mutating func release(_ node: NodeID, _ now: Duration) {
        guard let number = usedLink(node) else { return }
        effects.append(.send(number, .refusal(.full)))
        part(number, now)
    }

    /// Ends a link in use without a doubt of the other's life.
    private mutating func part(_ number: LinkNumber, _ now: Duration) {
        guard let link = links[number], let id = unlink(number, link, isParting: true) else { return }
        drop(number)
        nextDials[id] = nil
        // Where the ring needs it all the same.
        schedule(id, after: Self.leastPause, now)
    }

    private mutating func unlink(_ number: LinkNumber, _ link: Link, isParting: Bool) -> Int? {
        guard let id = byNode[link.node], entries[id]?.host.link == number else { return nil }
        effects.append(.lost(number, link.node, isParting: isParting))
        entries[id]?.host.link = nil
        entries[id]?.host.roundTrip = nil
        if !denied.contains(link.node) { stand(id, .connecting, nil) }
        return id
    }

    private mutating func ended(_ number: LinkNumber, _ link: Link, _ now: Duration) {
        guard let id = unlink(number, link, isParting: false) else { return }
        if entries[id]?.isCold == true { trySecondRuns(of: link.node, now) }
        guard entries[id]?.isCold == false, !denied.contains(link.node) else { return }
        entries[id]?.isBroken = true
        if now - link.opened >= Self.stability {
            entries[id]?.failures = 0
            // At once: whether somebody listens there tells if it died.
            nextDials[id] = now + .milliseconds(Int.random(in: 0...10, using: &random))
        } else {
            entries[id]?.failures += 1
            let pause = backoff(entries[id]?.failures ?? 1)
            nextDials[id] = now + pause
        }
    }

    mutating func checkLinks(_ now: Duration, _ wallClock: UInt64) {
        for number in links.keys.sorted() {
            guard let link = links[number], let deadline = link.deadline, deadline <= now else { continue }
            switch link.stage {
            case .used:
                // Not answered: whoever was refused for this one's sake may be all there is of it.
                if link.ping != nil, hasClone(link.node) { trySecondRuns(of: link.node, now) }
                ping(number, now)
            case .inquiry:
                forgetDialer(of: link)
                close(number, now)
            case .greeting:
                close(number, now)
                guard link.isDialed, let id = byNode[link.node], entries[id]?.host.link == nil else { continue }
                giveUpRound(id, LinkFailure(.timedOut, "It accepts connections and says nothing."), now)
            case .contending:
                // The old one is silent: this is the host after a restart.
                guard let greeting = link.greeting else {
                    close(number, now)
                    continue
                }
                if link.isDialed {
                    close(number, now)
                    if let former = usedLink(link.node) { close(former, now) }
                    if let id = byNode[link.node] {
                        // There it answers.
                        learn(id, [link.address])
                        entries[id]?.listened = link.address
                        schedule(id, after: .zero, now)
                    }
                } else {
                    adopt(number, greeting, now, wallClock)
                }
            }
        }
    }
}
