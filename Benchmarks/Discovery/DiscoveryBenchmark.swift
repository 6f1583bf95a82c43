import Core
import Cryptography
import Glibc
import Peering

/// One host that only finds others, and prints what it sees, a JSON line each, with milliseconds since 1970: for
/// `Benchmarks/discovery.py`, which runs several of them on a small network.
///
///     discovery-benchmark mdns|multicast|HOST[:PORT] SECONDS
@main
enum DiscoveryBenchmark {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3, let seconds = Double(arguments[2]) else {
            print("usage: discovery-benchmark mdns|multicast|HOST[:PORT] SECONDS")
            exit(64)
        }
        let channel = arguments[1]
        let seed = ["mdns", "multicast"].contains(channel) ? nil : NetworkAddress(channel, defaultPort: 8080)
        let key = SymmetricKey([UInt8](repeating: 7, count: 32))
        let swarm = SwarmID(Bytes16(high: 0, low: 7))
        let discovery = LANDiscovery(
            DiscoveryConfiguration(
                mdns: channel == "mdns", multicast: channel == "multicast", seeds: seed.map { [$0] } ?? []),
            macKey: { $0 == swarm ? key : nil })
        let announcement = Announcement(
            node: NodeID(try random()), instance: InstanceID(try random()), swarm: swarm, security: .key, port: 8080,
            version: "0.3.0")
        say(#"{"event":"started","at":\#(wall()),"node":"\#(announcement.node)"}"#)
        await withTaskGroup { group in
            group.addTask { await discovery.run(announcement) }
            group.addTask {
                for await sighting in discovery.sightings {
                    let event = sighting.isLeaving ? "left" : "seen"
                    say(#"{"event":"\#(event)","at":\#(wall()),"node":"\#(sighting.node?.description ?? "")"}"#)
                }
            }
            group.addTask {
                // Cancelled only together with all the rest.
                try? await Task.sleep(for: .seconds(seconds))
            }
            await group.next()
            group.cancelAll()
        }
    }

    private static func random() throws -> Bytes16 {
        guard let bytes = Bytes16(try SecureRandom.bytes(16)) else {
            throw CryptographyError.invalidLength(of: "an id")
        }
        return bytes
    }

    private static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(1, bytes, bytes.count)
    }

    private static func wall() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
    }
}
