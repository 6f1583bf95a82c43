import Core
import Node
import Swarm

/// `GET /v1/swarm/dht/{key}`: whose a key is among the living hosts, the same whoever is asked.
struct RingPage: Sendable {
    private static let usualCount = 4
    private static let most = 64

    let requests: any RequestServices

    func reply(_ key: String, _ exchange: Exchange) async throws -> Reply {
        var count = Self.usualCount
        if let text = exchange.query("count") {
            guard let number = Int(text), (1...Self.most).contains(number) else {
                throw RuntimeError(.invalidRequest, "count must be a number from 1 to \(Self.most)", parameter: "count")
            }
            count = number
        }
        let owners = await requests.owners(of: key, count: count)
        return Reply([
            "object": "dht", "key": .string(key),
            // As 16 hexadecimal digits: not every JSON reader takes 64 bits.
            "hash": .string(Bytes16(high: 0, low: HashRing.key(of: key)).description.suffix(16).description),
            "points": .integer(Int64(HashRing.points)),
            "owner": owners.first?.json ?? .null,
            "successors": .array(owners.dropFirst().map(\.json)),
        ])
    }
}

extension RingOwner {
    fileprivate var json: JSON {
        ["node": .string(node.description), "name": .string(name), "self": .bool(isSelf)]
    }
}
