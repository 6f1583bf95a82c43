import Core
import Cryptography

/// What a host says of itself in its mDNS service's text (swarm.md §11): `id`, `instance`, `version`, `swarm`,
/// `security` and `mac`, an HMAC over them and the port. It stands as long as the host runs, so there is no time in it;
/// whoever replays it sends others to a TLS handshake that fails.
struct ServiceRecord: Hashable, Sendable {
    static let type = "_igris-mcp._tcp"
    /// One datagram holds it with all the rest of an answer.
    static let largest = 400
    /// Of another's text no more is looked at.
    static let largestRead = 1_300

    var node: NodeID
    var instance: InstanceID
    var swarm: SwarmID
    var security: SwarmSecurity
    var version: String
    var port: Int

    init(
        node: NodeID, instance: InstanceID, swarm: SwarmID, security: SwarmSecurity, version: String, port: Int
    ) {
        self.node = node
        self.instance = instance
        self.swarm = swarm
        self.security = security
        self.version = version
        self.port = port
    }

    init(_ announcement: Announcement) {
        self.init(
            node: announcement.node, instance: announcement.instance, swarm: announcement.swarm,
            security: announcement.security, version: announcement.version, port: announcement.port)
    }

    /// The text in DNS form: entries with their length before them.
    func encoded(key: SymmetricKey) -> [UInt8] {
        let entries = [
            "id=\(node)", "instance=\(instance)", "version=\(shortVersion)", "swarm=\(swarm)",
            "security=\(security.rawValue)", "mac=\(code(key: key).hex)",
        ]
        return entries.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
    }

    /// Nil for anything that is not of this program; `code` must still be checked.
    static func decode(_ text: [UInt8], port: Int) -> (record: ServiceRecord, code: [UInt8])? {
        guard text.count <= largestRead, (1...65_535).contains(port) else { return nil }
        var values: [Substring: Substring] = [:]
        var rest = text[...]
        while let length = rest.popFirst() {
            guard rest.count >= Int(length) else { return nil }
            let entry = String(decoding: rest.prefix(Int(length)), as: UTF8.self)
            rest = rest.dropFirst(Int(length))
            guard let equals = entry.firstIndex(of: "=") else { continue }
            // The first of equal keys stands (RFC 6763 §6.4).
            let key = entry[..<equals]
            if values[key] == nil { values[key] = entry[entry.index(after: equals)...] }
        }
        guard let node = values["id"].flatMap({ NodeID(hex: $0) }),
            let instance = values["instance"].flatMap({ Bytes16(hex: $0) }),
            let swarm = values["swarm"].flatMap({ SwarmID(hex: $0) }),
            let security = values["security"].flatMap({ SwarmSecurity(rawValue: String($0)) }),
            let version = values["version"], version.utf8.count <= Beacon.versionBytes,
            version.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            let code = values["mac"].flatMap({ [UInt8](hex: $0) })
        else { return nil }
        let record = ServiceRecord(
            node: node, instance: InstanceID(instance), swarm: swarm, security: security, version: String(version),
            port: port)
        return (record, code)
    }

    func isAuthentic(_ code: [UInt8], key: SymmetricKey) -> Bool { ConstantTime.equals(self.code(key: key), code) }

    private var shortVersion: String { String(decoding: version.utf8.prefix(Beacon.versionBytes), as: UTF8.self) }

    private func code(key: SymmetricKey) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(lengthPrefixed: "igris-mdns-1".utf8)
        writer.put(node.bytes)
        writer.put(instance.bytes)
        writer.put(swarm.bytes)
        writer.put(lengthPrefixed: security.rawValue.utf8)
        writer.put(lengthPrefixed: shortVersion.utf8)
        writer.put(bigEndian: UInt16(clamping: port))
        return HMACSHA256.authenticate(writer.bytes, key: key)
    }
}
