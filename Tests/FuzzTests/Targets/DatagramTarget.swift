import Core
import Cryptography

@testable import Peering

/// Datagrams of the multicast group: anyone may send them.
enum DatagramTarget {
    static let key = SymmetricKey([UInt8](repeating: 7, count: 32))

    static func run(_ bytes: [UInt8]) throws(Broken) {
        _ = Beacon.isAuthentic(bytes, key: key)
        guard let beacon = try? Beacon(decoding: bytes) else { return }
        let written = beacon.encoded(key: key)
        try hold(written.count <= Beacon.largest, "a beacon grew to \(written.count) bytes")
        try hold((try? Beacon(decoding: written)) == beacon, "what was read is not what is written of it")
        try hold(Beacon.isAuthentic(written, key: key), "what is written is not authentic")
        // What was not written with the key is not believed.
        try hold(written == bytes || !Beacon.isAuthentic(bytes, key: key), "two datagrams say one thing")
    }
}
