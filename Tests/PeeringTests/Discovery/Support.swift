import Core
import Cryptography

@testable import Peering

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// A swarm of the tests: hosts 1, 2, … with the key of one byte repeated.
enum TestSwarm {
    static let key = SymmetricKey([UInt8](repeating: 7, count: 32))
    static let otherKey = SymmetricKey([UInt8](repeating: 8, count: 32))
    static let id = SwarmID(Bytes16(high: 1, low: 7))
    static let otherID = SwarmID(Bytes16(high: 1, low: 8))

    static func node(_ number: UInt64) -> NodeID { NodeID(Bytes16(high: 2, low: number)) }
    static func instance(_ number: UInt64) -> InstanceID { InstanceID(Bytes16(high: 3, low: number)) }

    static func announcement(
        _ number: UInt64, swarm: SwarmID = id, host: String = "0.0.0.0", port: Int = 8080
    ) -> Announcement {
        Announcement(
            node: node(number), instance: instance(number), swarm: swarm, security: .key, host: host, port: port,
            version: "0.3.0")
    }

    static func beacon(
        _ number: UInt64, kind: Beacon.Kind = .announcement, swarm: SwarmID = id, security: SwarmSecurity = .key,
        clock: UInt64 = 1_000_000, atSource: Bool = true, addresses: [ScopedAddress] = []
    ) -> Beacon {
        Beacon(
            kind: kind, swarm: swarm, node: node(number), instance: instance(number), security: security, port: 8080,
            clock: clock, version: "0.3.0", isReachableAtSource: atSource, addresses: addresses)
    }

    static func macKey(_ swarm: SwarmID) -> SymmetricKey? { swarm == id ? key : nil }
}

extension ScopedAddress {
    static let neighbour = ScopedAddress(known: [192, 168, 1, 9])
}
