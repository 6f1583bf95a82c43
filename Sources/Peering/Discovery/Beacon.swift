import Core
import Cryptography

/// What a host says of itself in one datagram (swarm.md §11). Advisory: it may be old or from elsewhere, the TLS
/// handshake alone decides. So the clock in it does not make it valid, it only tells how far clocks are apart: a host
/// with a wrong clock must be found all the same.
///
/// ```
/// "IGRB" | format 1 | kind | flags | swarm 16 | node 16 | instance 16 | port 2 | clock 8 | version ≤ 32, with its length
///        | n ≤ 4 addresses: 4 or 6, its 4 or 16 bytes | HMAC-SHA256 over all before it
/// ```
struct Beacon: Hashable, Sendable {
    enum Kind: UInt8, Sendable, CaseIterable {
        case announcement = 1
        /// Sent to one host that was not known; never answered.
        case answer = 2
        case leaving = 3
    }

    var kind: Kind
    var swarm: SwarmID
    var node: NodeID
    var instance: InstanceID
    var security: SwarmSecurity
    var port: Int
    /// The sender's clock, milliseconds since 1970.
    var clock: UInt64
    var version: String
    /// The server listens at the address that the datagram comes from.
    var isReachableAtSource: Bool
    /// Where else it listens: addresses of the interface the beacon left by, no link-local IPv6 ones.
    var addresses: [ScopedAddress]

    static let largest = 512
    static let mostAddresses = 4
    static let versionBytes = 32
    private static let magic = Array("IGRB".utf8)
    private static let format: UInt8 = 1
    private static let macBytes = SHA256.digestBytes

    private enum Flag {
        static let open: UInt8 = 1
        static let reachableAtSource: UInt8 = 2
    }

    func encoded(key: SymmetricKey) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(raw: Self.magic)
        writer.put(Self.format)
        writer.put(kind.rawValue)
        writer.put((security == .open ? Flag.open : 0) | (isReachableAtSource ? Flag.reachableAtSource : 0))
        writer.put(swarm.bytes)
        writer.put(node.bytes)
        writer.put(instance.bytes)
        writer.put(bigEndian: UInt16(clamping: port))
        writer.put(bigEndian: clock)
        writer.put(lengthPrefixed: version.utf8.prefix(Self.versionBytes))
        let addresses = addresses.prefix(Self.mostAddresses)
        writer.put(UInt8(addresses.count))
        for address in addresses {
            writer.put(address.isIPv6 ? 6 : 4)
            writer.put(raw: address.bytes)
        }
        return writer.bytes + HMACSHA256.authenticate(writer.bytes, key: key)
    }

    /// A beacon as it came; ``isAuthentic(_:key:)`` tells whether it may be believed.
    init(decoding datagram: [UInt8]) throws(RuntimeError) {
        guard datagram.count <= Self.largest, datagram.count > Self.macBytes else { throw Self.malformed }
        var reader = ByteReader(Array(datagram.dropLast(Self.macBytes)))
        guard try reader.raw(Self.magic.count) == Self.magic, try reader.byte() == Self.format,
            let kind = Kind(rawValue: try reader.byte())
        else { throw Self.malformed }
        self.kind = kind
        let flags = try reader.byte()
        guard flags & ~(Flag.open | Flag.reachableAtSource) == 0 else { throw Self.malformed }
        security = flags & Flag.open != 0 ? .open : .key
        isReachableAtSource = flags & Flag.reachableAtSource != 0
        swarm = SwarmID(try reader.bytes16())
        node = NodeID(try reader.bytes16())
        instance = InstanceID(try reader.bytes16())
        let high = try reader.byte()
        port = Int(high) << 8 | Int(try reader.byte())
        clock = try reader.bigEndian64()
        let text = try reader.lengthPrefixed(atMost: Self.versionBytes)
        guard port > 0, text.allSatisfy({ (0x21...0x7E).contains($0) }) else { throw Self.malformed }
        version = String(decoding: text, as: UTF8.self)
        let count = try reader.byte()
        guard count <= UInt8(Self.mostAddresses) else { throw Self.malformed }
        addresses = []
        for _ in 0..<count {
            let family = try reader.byte()
            guard family == 4 || family == 6, let address = ScopedAddress(bytes: try reader.raw(family == 4 ? 4 : 16)),
                !address.isUnspecified
            else { throw Self.malformed }
            addresses.append(address)
        }
        try reader.expectEnd()
    }

    /// Whether a holder of `key` made the datagram; takes the same time for every wrong code.
    static func isAuthentic(_ datagram: [UInt8], key: SymmetricKey) -> Bool {
        guard datagram.count > macBytes else { return false }
        return HMACSHA256.isValid(
            Array(datagram.suffix(macBytes)), for: Array(datagram.dropLast(macBytes)), key: key)
    }

    private static var malformed: RuntimeError { RuntimeError(.corrupt, "the datagram is no beacon of this version") }
}

extension Beacon {
    init(
        kind: Kind, swarm: SwarmID, node: NodeID, instance: InstanceID, security: SwarmSecurity, port: Int,
        clock: UInt64, version: String, isReachableAtSource: Bool, addresses: [ScopedAddress]
    ) {
        self.kind = kind
        self.swarm = swarm
        self.node = node
        self.instance = instance
        self.security = security
        self.port = port
        self.clock = clock
        self.version = version
        self.isReachableAtSource = isReachableAtSource
        self.addresses = addresses
    }
}
