package import Core
package import Cryptography

/// What the settings say about finding peers.
package struct DiscoveryConfiguration: Hashable, Sendable {
    package var mdns: Bool
    package var multicast: Bool
    package var multicastPort: Int
    package var seeds: [NetworkAddress]

    package init(
        mdns: Bool = true, multicast: Bool = true, multicastPort: Int = 5354, seeds: [NetworkAddress] = []
    ) {
        self.mdns = mdns
        self.multicast = multicast
        self.multicastPort = multicastPort
        self.seeds = seeds
    }
}

/// Finds the hosts of the LAN by mDNS, by multicast beacons and at the addresses of the settings. Each of the three
/// suffices alone; one that is switched off or does not work here says so in its status.
package final class LANDiscovery: Discovery {
    /// The key that authenticates what the hosts of a swarm announce; nil for a swarm that this host is not in. While
    /// the swarm's key changes, both the old and the new swarm have one.
    package typealias MACKey = @Sendable (SwarmID) -> SymmetricKey?

    package let sightings: AsyncStream<Sighting>
    private let sources: [any SightingSource]
    private let statusOfDisabled: [DiscoveryStatus]

    package init(_ configuration: DiscoveryConfiguration, macKey: @escaping MACKey) {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Sighting.self, bufferingPolicy: .bufferingNewest(Limits.queuedSightings))
        sightings = stream
        var sources: [any SightingSource] = []
        var disabled: [DiscoveryStatus] = []
        func add(_ channel: DiscoveryChannel, _ source: (any SightingSource)?, otherwise detail: String) {
            if let source {
                sources.append(source)
            } else {
                disabled.append(DiscoveryStatus(channel: channel, state: .off, detail: detail))
            }
        }
        add(
            .mdns, configuration.mdns ? ServiceDiscovery(macKey: macKey, sightings: continuation) : nil,
            otherwise: "mcp.mdns is off")
        add(
            .multicast,
            configuration.multicast
                ? MulticastBeacons(port: configuration.multicastPort, macKey: macKey, sightings: continuation) : nil,
            otherwise: "mcp.multicast is off")
        add(
            .seed, configuration.seeds.isEmpty ? nil : SeedList(configuration.seeds, sightings: continuation),
            otherwise: "mcp.seeds names no host")
        self.sources = sources
        statusOfDisabled = disabled
    }

    package func run(_ announcement: Announcement) async {
        let running = sources.map { source in Task { await source.run(announcement) } }
        await untilCancelled()
        for task in running { task.cancel() }
        await Self.farewell(of: running)
    }

    /// Waits for the goodbyes, but not long: an mDNS daemon that hangs holds its callers for half a minute.
    private static func farewell(of running: [Task<Void, Never>]) async {
        let (end, ended) = AsyncStream.makeStream(of: Never.self)
        let goodbyes = Task {
            for task in running { await task.value }
            ended.finish()
        }
        let patience = Task {
            // Ends early only when the goodbyes are said.
            try? await Task.sleep(for: Limits.discoveryFarewell)
            ended.finish()
        }
        // In a task of its own, since the caller's is cancelled and would not wait.
        await Task { for await _ in end {} }.value
        goodbyes.cancel()
        patience.cancel()
    }

    package func announce(_ announcement: Announcement) async {
        await withTaskGroup { group in
            for source in sources { group.addTask { await source.announce(announcement) } }
        }
    }

    package func status() async -> [DiscoveryStatus] {
        (sources.map(\.board.status) + statusOfDisabled).sorted { $0.channel < $1.channel }
    }
}
