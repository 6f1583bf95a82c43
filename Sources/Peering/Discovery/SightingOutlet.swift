import Core
import Synchronization

/// Where all sources put what they see, and what remembers how lately each host was heard: a peer's doctor asks that.
final class SightingOutlet: Sendable {
    private struct Key: Hashable {
        var node: NodeID
        var channel: DiscoveryChannel
    }

    private let continuation: AsyncStream<Sighting>.Continuation
    private let isOurs: @Sendable (SwarmID) -> Bool
    private let heard = Mutex<[Key: ContinuousClock.Instant]>([:])

    /// `isOurs` tells of which swarms the hosts have proven who they are.
    init(_ continuation: AsyncStream<Sighting>.Continuation, isOurs: @escaping @Sendable (SwarmID) -> Bool) {
        self.continuation = continuation
        self.isOurs = isOurs
    }

    func yield(_ sighting: Sighting) {
        continuation.yield(sighting)
        guard let node = sighting.node, let swarm = sighting.swarm, isOurs(swarm) else { return }
        let key = Key(node: node, channel: sighting.channel)
        heard.withLock { heard in
            if sighting.isLeaving {
                heard[key] = nil
            } else if heard[key] != nil || heard.count < Limits.knownHosts {
                heard[key] = .now
            }
        }
    }

    /// How long ago `node` was last heard, by channel.
    func ages(of node: NodeID) -> [(channel: DiscoveryChannel, age: Duration)] {
        let now = ContinuousClock.now
        return heard.withLock { heard in
            DiscoveryChannel.allCases.compactMap { channel in
                heard[Key(node: node, channel: channel)].map { (channel, now - $0) }
            }
        }
    }
}
