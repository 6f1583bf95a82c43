import Core
import Cryptography

actor ServiceDiscovery: SightingSource {
    nonisolated let board = StatusBoard(.mdns, .unavailable, "not started")
    init(macKey: @escaping LANDiscovery.MACKey, sightings: AsyncStream<Sighting>.Continuation) {}
    func run(_ announcement: Announcement) async { await untilCancelled() }
    func announce(_ announcement: Announcement) {}
}
