package import Core
package import Logging
internal import Metrics
internal import Swarm

/// This host among its peers: the shell of ``Mesh``, ``Membership`` and ``Overlay``. It owns the links, the timer and the reports;
/// every decision is a machine's. What the links carry of the log goes to ``LogWriter``.
package actor SwarmNode {
    let setup: SwarmSetup
    let writer: LogWriter
    let conversations: Conversations
    let log: Logger

    var mesh: Mesh
    var membership: Membership
    var overlay: Overlay
    let overlayMetrics = OverlayMetrics()
    /// Not everyone is linked with everyone.
    var isTree = false
    /// The broadcast that is being taken is new here.
    var isDelivered = false
    var links: [LinkNumber: OpenLink] = [:]
    /// The link in use with each peer.
    var adopted: [NodeID: LinkNumber] = [:]
    var board = SwarmEventBoard()
    var phases: [SwarmReport.PhaseChange] = []
    var fetches: [NodeID: Task<Void, Never>] = [:]
    /// What ``Membership`` said last of each.
    var states: [NodeID: Member.State] = [:]
    /// The last thing said to the writer about each host: what follows waits for it, so that it comes in order.
    private var told: [NodeID: Task<Void, Never>] = [:]
    /// When each host was last heard of, by channel.
    private var sightings: [NodeID: [DiscoveryChannel: Duration]] = [:]
    var partitions = PartitionWatch()
    var reputations = Reputations()
    var health = HealthWatch()
    let metrics = MembershipMetrics()
    var facts: MemberFacts
    /// As it was told last.
    var ownLoad = HostLoad()
    /// What the linked peers have told.
    var loads: [NodeID: HostLoad] = [:]
    var trust: KeyRotation
    /// The latest effects of `trust`, on their way.
    var trustTurn: Task<Void, Never>?
    /// The one whose certificates this host shows.
    var swarm: SwarmID
    var announcement: Announcement?
    var isEvicted = false
    /// Of the snapshots that were given out lately.
    var lengths: [(id: Bytes16, bytes: Int)] = []
    var snapshotPace = SnapshotPace()
    let snapshotBytes = Counter(label: "igris_snapshot_bytes_total")
    let snapshotPause = Timer(label: "igris_snapshot_pause_seconds")
    /// 0 until this host listens.
    private(set) var port = 0
    private var lastLink: UInt64 = 0
    /// The first is being taken.
    private var events: [MachineEvent] = []
    private var timer: (due: Duration, task: Task<Void, Never>)?
    private(set) var hasLeft = false
    private(set) var saidGoodbye = false
    private let start = ContinuousClock.now

    /// One link and the task that reads it.
    struct OpenLink {
        var link: any PeerLink
        var reader: Task<Void, Never>
    }

    package init(_ setup: SwarmSetup, writer: LogWriter, conversations: Conversations, log: Logger) {
        self.setup = setup
        self.writer = writer
        self.conversations = conversations
        self.log = log
        facts = MemberFacts(name: setup.name, version: setup.version, zone: setup.zone)
        mesh = setup.mesh(port: 0)
        membership = setup.membership(facts: facts)
        overlay = setup.overlay
        trust = setup.rotation
        // A tag has sixteen bytes.
        swarm = setup.rotation.primary.swarm ?? SwarmID(Bytes16(high: 0, low: 0))
        phases = [SwarmReport.PhaseChange(.starting, at: setup.wallClock())]
    }

    /// Since this host's start.
    var now: Duration { ContinuousClock.now - start }

    // MARK: - Life

    /// Finds peers and keeps with them until the task is cancelled; then says goodbye.
    package func run(port: Int, announcement: Announcement) async {
        self.port = port
        self.announcement = announcement
        mesh = setup.mesh(port: port)
        step(trust: .started)
        enter(.discovering)
        await updateFacts()
        step(membership: .changed(facts))
        arm()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.setup.discovery.run(announcement) }
            group.addTask { await self.takeSightings() }
            group.addTask { await self.takeLinks() }
            group.addTask { await self.takeNotices() }
            group.addTask { await self.takeBroadcasts() }
            group.addTask { await self.writer.run() }
            group.addTask { await self.refresh() }
            group.addTask { await self.tellLoads() }
            group.addTask { await self.expireConversations() }
            await group.waitForAll()
        }
        leave()
    }

    private func takeSightings() async {
        for await sighting in setup.discovery.sightings {
            count(sighting)
            if let node = sighting.node, sightings[node] != nil || sightings.count < Limits.knownHosts {
                sightings[node, default: [:]][sighting.channel] = now
            }
            step(mesh: .sighted(sighting))
        }
    }

    private func takeLinks() async {
        for await link in setup.transport.accepted { open(link) }
    }

    /// What happens to the log, for whoever listens.
    private func takeNotices() async {
        for await notice in await writer.notices() {
            switch notice {
            case .updated(let headers):
                // Listeners need not be the conversation's owner: they are not told its name.
                for header in headers { post("conversation_updated", nil, "\(header.stream)") }
            case .removed(let streams):
                for stream in streams { post("conversation_deleted", nil, "\(stream)") }
            case .snapshotWanted(let peer): fetchSnapshot(from: peer)
            case .replication(let notice): post(notice)
            }
        }
    }

    /// What the log wants everyone to have.
    private func takeBroadcasts() async {
        for await batch in await writer.broadcasts() { step(overlay: .published(OperationBatchCodec.encode(batch))) }
    }

    private func post(_ notice: Replication.Notice) {
        switch notice {
        case .diverged(let peer, let origin): post("divergence", peer, origin.map { "\($0)" } ?? "")
        case .convicted(let origin): post("node_equivocated", origin.node, "\(origin)")
        case .rejected(let origin, _, let peer):
            post("operations_rejected", peer, "\(origin)")
            metrics.forgeries.increment()
            // In a tree it may have passed on what it could not judge yet.
            if !isTree { judge(peer, .forged) }
        case .abandonedEpoch(let origin): post("epoch_abandoned", setup.node, "\(origin)")
        // Whoever read it closes the link.
        case .malformed: break
        case .acknowledged, .clockAhead, .equivocated, .proven: break
        }
    }

    /// Looks now and then at what no event tells: addresses, models.
    private func refresh() async {
        while !Task.isCancelled {
            await updateFacts()
            updatePhase()
            step(trust: .ticked)
            await observeHealth()
            // Cancelled with the run.
            try? await Task.sleep(for: .milliseconds(500))
        }
    }

    private func updateFacts() async {
        let models = await setup.models()
        // What is told after the goodbye would say that this host is back.
        guard !saidGoodbye else { return }
        step(mesh: .moved(setup.addresses(port)))
        var fresh = facts
        // With those at which others reached this host.
        fresh.addresses = mesh.addresses
        fresh.models = models
        guard fresh != facts else { return }
        facts = fresh
        step(membership: .changed(fresh))
    }

    /// Tells the others that this host goes, while the links still stand: the gateway, which ends first, closes those
    /// that it accepted, and a host whose links break without a word is taken for dead.
    package func sayGoodbye() {
        guard !hasLeft, !saidGoodbye else { return }
        saidGoodbye = true
        step(membership: .leaving)
    }

    /// The goodbye goes out before the links close.
    private func leave() {
        guard !hasLeft else { return }
        sayGoodbye()
        hasLeft = true
        enter(.leaving)
        timer?.task.cancel()
        for fetch in fetches.values { fetch.cancel() }
        for open in links.values { open.link.close() }
        board.close()
    }

    // MARK: - Links

    /// A link that was dialed or accepted.
    func open(_ link: any PeerLink) {
        guard !hasLeft, !reputations.isExcluded(link.peer.node) else { return link.close() }
        lastLink += 1
        let number = LinkNumber(lastLink)
        let reader = Task { await self.read(link, number) }
        links[number] = OpenLink(link: link, reader: reader)
        step(
            mesh: .opened(
                number, node: link.peer.node, swarm: link.peer.swarm, address: link.address, isDialed: link.isDialed))
    }

    private nonisolated func read(_ link: any PeerLink, _ number: LinkNumber) async {
        do {
            for try await message in link.messages() {
                switch message.first.flatMap(LinkChannel.init(rawValue:)) {
                case .replication:
                    // Waits until the log has taken it: a fast peer is slowed by TCP, not by our memory.
                    guard let linked = await isAdopted(number, of: link.peer.node) else { continue }
                    await linked.value
                    guard await writer.received(message, from: link.peer.node) else {
                        await rubbish(on: .replication, number, link.peer.node)
                        continue
                    }
                case .some(let channel):
                    guard let batch = await received(message, on: channel, number, link.peer.node),
                        let linked = await isAdopted(number, of: link.peer.node)
                    else { continue }
                    await linked.value
                    await writer.received(batch, from: link.peer.node)
                case nil: continue
                }
            }
        } catch {
            log.debug("link broke", metadata: ["peer.id": "\(link.peer.node)", "error": "\(error)"])
        }
        await closed(number)
    }

    /// Ends when the writer knows of the link; nil where it is not in use.
    private func isAdopted(_ number: LinkNumber, of node: NodeID) -> Task<Void, Never>? {
        guard adopted[node] == number else { return nil }
        step(membership: .heard(node))
        return told[node]
    }

    func tellWriter(of node: NodeID, _ action: @escaping @Sendable (LogWriter) async -> Void) {
        let before = told[node]
        told[node] = Task { [writer] in
            await before?.value
            await action(writer)
        }
    }

    /// Returns what the writer should have.
    private func received(
        _ message: [UInt8], on channel: LinkChannel, _ number: LinkNumber, _ node: NodeID
    ) -> OperationBatch? {
        guard links[number] != nil else { return nil }
        let payload = Array(message.dropFirst())
        do {
            switch channel {
            case .mesh:
                if let message = try MeshMessage.decode(payload) { step(mesh: .received(number, message)) }
            case .membership:
                guard adopted[node] == number else { return nil }
                if let message = try MembershipMessage.decode(payload) {
                    step(membership: .received(message, from: node))
                }
            case .trust:
                guard adopted[node] == number else { return nil }
                step(trust: .received(message, from: node))
            case .diagnosis:
                guard adopted[node] == number, let link = links[number]?.link else { return nil }
                Task { await consult(payload, on: number, node, link.address) }
            case .overlay:
                guard adopted[node] == number else { return nil }
                step(membership: .heard(node))
                return try receivedBroadcast(payload, from: node)
            case .load:
                guard adopted[node] == number else { return nil }
                try receivedLoad(payload, from: node)
            case .replication: break
            }
        } catch {
            rubbish(on: channel, number, node, error)
        }
        return nil
    }

    /// Answering takes seconds: connections are tried.
    private func consult(_ payload: [UInt8], on number: LinkNumber, _ node: NodeID, _ address: NetworkAddress) async {
        let now = now
        let ages = (sightings[node] ?? [:]).mapValues { now - $0 }
        do {
            if let reply = try await setup.consultation(payload, node, address, ages) {
                send(.diagnosis, reply, on: number)
            }
        } catch {
            rubbish(on: .diagnosis, number, node, error)
        }
    }

    /// The writer has said what is wrong.
    private func rubbish(on channel: LinkChannel, _ number: LinkNumber, _ node: NodeID) {
        metrics.malformed[channel]?.increment()
        post("peer_malformed", node, "\(channel)")
        // Nothing that follows on this link can be trusted to be in order.
        links[number]?.link.close()
        judge(node, .forged)
    }

    private func rubbish(on channel: LinkChannel, _ number: LinkNumber, _ node: NodeID, _ error: any Error) {
        log.warning(
            "a peer sent something that is no message",
            metadata: ["peer.id": "\(node)", "link.channel": "\(channel)", "error": "\(error)"])
        rubbish(on: channel, number, node)
    }

    private func closed(_ number: LinkNumber) {
        guard let open = links.removeValue(forKey: number) else { return }
        open.link.close()
        guard !hasLeft else { return }
        step(mesh: .closed(number))
    }

    func send(_ channel: LinkChannel, _ payload: [UInt8], on number: LinkNumber) {
        links[number]?.link.send([channel.rawValue] + payload)
    }

    // MARK: - Machines

    /// For one of the machines.
    private enum MachineEvent {
        case mesh(Mesh.Event)
        case membership(Membership.Event)
        case overlay(Overlay.Event)
    }

    func step(mesh event: Mesh.Event) { take(.mesh(event)) }

    func step(membership event: Membership.Event) { take(.membership(event)) }

    func step(overlay event: Overlay.Event) { take(.overlay(event)) }

    /// What one machine's effects tell the other waits until all effects of the event are done: each sees the world
    /// as the machine that decided left it.
    private func take(_ event: MachineEvent) {
        guard !hasLeft else { return }
        events.append(event)
        guard events.count == 1 else { return }
        while let next = events.first {
            switch next {
            case .mesh(let event):
                for effect in mesh.step(event, now: now, wallClock: setup.wallClock()) { perform(effect) }
            case .membership(let event):
                for effect in membership.step(event, now: now) { perform(effect) }
            case .overlay(let event):
                for effect in overlay.step(event, now: now) { perform(effect) }
            }
            events.removeFirst()
        }
        arm()
    }

    /// Wakes at the machines' next time.
    private func arm() {
        guard !hasLeft, port != 0 else { return }
        let due = max(min(mesh.wake, membership.wake, overlay.wake), now + .milliseconds(1))
        if let timer, timer.due <= due { return }
        timer?.task.cancel()
        let task = Task {
            // A cancelled timer has a successor.
            guard (try? await Task.sleep(for: due - now, tolerance: .zero)) != nil else { return }
            self.tick(due)
        }
        timer = (due, task)
    }

    private func tick(_ due: Duration) {
        timer = nil
        let late = now - due
        if late > .milliseconds(100) { step(membership: .lagged(late)) }
        if mesh.wake <= now { step(mesh: .ticked) }
        if membership.wake <= now { step(membership: .ticked) }
        if overlay.wake <= now { step(overlay: .ticked) }
        arm()
    }
}
