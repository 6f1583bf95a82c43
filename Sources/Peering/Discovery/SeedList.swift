import Core
import Dispatch
import Glibc

/// The hosts that the settings name. Names are looked up each time, and each of a name's addresses is a host of its
/// own: behind one name may stand many.
final class SeedList: SightingSource {
    let board: StatusBoard
    private let seeds: [NetworkAddress]
    private let sightings: AsyncStream<Sighting>.Continuation

    init(_ seeds: [NetworkAddress], sightings: AsyncStream<Sighting>.Continuation) {
        self.seeds = seeds
        self.sightings = sightings
        board = StatusBoard(.seed, .on, "not asked yet")
    }

    func run(_ announcement: Announcement) async {
        await withTaskGroup { group in
            for seed in seeds { group.addTask { await self.follow(seed) } }
        }
    }

    func announce(_ announcement: Announcement) {}

    private func follow(_ seed: NetworkAddress) async {
        var schedule = SeedSchedule()
        var random = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            board.sent(at: WallClock.now)
            switch await HostLookup.addresses(of: seed.host) {
            case .success(let addresses):
                board.received(at: WallClock.now)
                board.set(.on, "\(seed) is \(addresses.map(\.description).joined(separator: ", "))")
                for address in addresses {
                    let address = NetworkAddress(host: address.description, port: seed.port)
                    sightings.yield(Sighting(channel: .seed, addresses: [address]))
                }
            case .failure(let failure):
                board.refused()
                board.set(.on, "\(seed): \(failure); name a host that exists, or its address")
            }
            // Throws only when cancelled, which the loop sees.
            try? await Task.sleep(for: schedule.next(using: &random))
        }
    }
}

/// Asks the system's resolver, which blocks, on a queue of its own.
enum HostLookup {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Behind one name no more hosts are looked for.
    static let mostAddresses = 64
    private static let queue = DispatchQueue(label: "igris.lookup", attributes: .concurrent)

    /// In the resolver's order. Cancelled, it returns at once, and the resolver goes on alone.
    static func addresses(of host: String) async -> Result<[ScopedAddress], Failure> {
        if let address = ScopedAddress(host) { return .success([address]) }
        let (stream, continuation) = AsyncStream.makeStream(of: Result<[ScopedAddress], Failure>.self)
        queue.async {
            continuation.yield(resolve(host))
            continuation.finish()
        }
        for await result in stream { return result }
        return .failure(Failure(description: "was not waited for"))
    }

    private static func resolve(_ host: String) -> Result<[ScopedAddress], Failure> {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else { return .failure(Failure(description: String(cString: gai_strerror(code)))) }
        defer { freeaddrinfo(list) }
        var found: [ScopedAddress] = []
        for entry in sequence(first: list, next: { $0?.pointee.ai_next }) {
            guard let address = entry?.pointee.ai_addr.flatMap({ SocketAddress($0)?.address }),
                !found.contains(address), found.count < mostAddresses
            else { continue }
            found.append(address)
        }
        return .success(found)
    }
}
