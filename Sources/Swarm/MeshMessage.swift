package import Core

/// A link as the shell numbers it: each one it opens or accepts gets a number of its own, never given twice.
package struct LinkNumber: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    package var description: String { "link \(rawValue)" }
    package static func < (left: LinkNumber, right: LinkNumber) -> Bool { left.rawValue < right.rawValue }
}

/// The first message each way: the host that dialed speaks first, the other answers with its own or refuses. Who it
/// is, the certificate has proven; this says which run of it, and where it listens. What a member tells of itself to
/// everyone (models, role, zone) is in its signed claims: ``MemberFacts``.
package struct Greeting: Hashable, Sendable {
    /// Of the messages on links. Another one is refused, with a reason; its greeting begins with the same fields.
    package static let currentProtocol: UInt8 = 1

    package var protocolVersion = Greeting.currentProtocol
    package var instance: InstanceID
    /// When this run began and what its clock says now: milliseconds since 1970.
    package var started: UInt64
    package var wallClock: UInt64
    package var name: String
    package var version: String
    package var security: SwarmSecurity
    /// Of its API, which is where it accepts links too.
    package var port: Int
    package var addresses: [NetworkAddress]
    /// How many links this run had dialed, this one included: tells a later one from an earlier.
    package var attempt: UInt64
    /// The highest `attempt` of the receiver that the sender has taken into use.
    package var taken: UInt64
    /// Where the sender reached the receiver, or sees it: the receiver may not know this address of its own.
    package var reached: NetworkAddress?
    /// Only to find out who is there: the link is not to be used.
    package var isInquiry: Bool

    package init(
        instance: InstanceID, started: UInt64, wallClock: UInt64, name: String, version: String,
        security: SwarmSecurity, port: Int, addresses: [NetworkAddress], attempt: UInt64 = 0, taken: UInt64 = 0,
        reached: NetworkAddress? = nil, isInquiry: Bool = false
    ) {
        self.instance = instance
        self.started = started
        self.wallClock = wallClock
        self.name = name
        self.version = version
        self.security = security
        self.port = port
        self.addresses = addresses
        self.attempt = attempt
        self.taken = taken
        self.reached = reached
        self.isInquiry = isInquiry
    }
}

/// What hosts say on ``LinkChannel/mesh``.
package enum MeshMessage: Hashable, Sendable {
    /// Why a link is not taken. All but `redundant` are shown to an operator.
    package enum Refusal: UInt8, Hashable, Sendable, CaseIterable {
        /// There is one already, or a better one is on its way.
        case redundant = 1
        /// Another living host has this identity.
        case cloned = 2
        case evicted = 3
        /// Another version of the protocol.
        case version = 4
        /// As many links as this host keeps.
        case full = 5
    }

    case greeting(Greeting)
    case refusal(Refusal)
    case ping(UInt64)
    case pong(UInt64)
}

extension MeshMessage {
    private enum Kind: UInt8 {
        case greeting = 1
        case refusal = 2
        case ping = 3
        case pong = 4
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .greeting(let greeting):
            writer.put(Kind.greeting.rawValue)
            greeting.encode(into: &writer)
        case .refusal(let refusal):
            writer.put(Kind.refusal.rawValue)
            writer.put(refusal.rawValue)
        case .ping(let token):
            writer.put(Kind.ping.rawValue)
            writer.put(varint: token)
        case .pong(let token):
            writer.put(Kind.pong.rawValue)
            writer.put(varint: token)
        }
        return writer.bytes
    }

    /// Nil: a kind of message that this version does not know, to be skipped.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> MeshMessage? {
        var reader = ByteReader(bytes)
        guard let kind = Kind(rawValue: try reader.byte()) else { return nil }
        switch kind {
        case .greeting: return .greeting(try Greeting(decoding: &reader))
        case .refusal: return Refusal(rawValue: try reader.byte()).map { .refusal($0) }
        case .ping: return .ping(try reader.varint())
        case .pong: return .pong(try reader.varint())
        }
    }
}

extension Greeting {
    private static let nameBytes = 255
    private static let versionBytes = 64

    fileprivate func encode(into writer: inout ByteWriter) {
        writer.put(protocolVersion)
        writer.put(instance.bytes)
        writer.put(varint: started)
        writer.put(varint: wallClock)
        writer.put(text: name, atMost: Self.nameBytes)
        writer.put(text: version, atMost: Self.versionBytes)
        writer.put((security == .open ? 1 : 0) | (isInquiry ? 2 : 0) | (reached == nil ? 0 : 4))
        writer.put(varint: UInt64(clamping: port))
        writer.put(addresses)
        writer.put(varint: attempt)
        writer.put(varint: taken)
        if let reached { writer.put(reached) }
    }

    /// Later versions may add fields behind: they are skipped. Of another protocol only what tells so is read.
    fileprivate init(decoding reader: inout ByteReader) throws(RuntimeError) {
        let protocolVersion = try reader.byte()
        let instance = InstanceID(try reader.bytes16())
        let started = try reader.varint()
        let wallClock = try reader.varint()
        let name = try reader.text(atMost: Self.nameBytes)
        let version = try reader.text(atMost: Self.versionBytes)
        let flags = try reader.byte()
        let port = try reader.varint()
        guard (1...65_535).contains(port) else { throw RuntimeError(.corrupt, "a peer's port is none") }
        self.init(
            instance: instance, started: started, wallClock: wallClock, name: name, version: version,
            security: flags & 1 == 0 ? .key : .open, port: Int(port), addresses: try reader.addresses(),
            attempt: try reader.varint(), taken: try reader.varint(),
            reached: flags & 4 == 0 ? nil : try reader.address(), isInquiry: flags & 2 != 0)
        self.protocolVersion = protocolVersion
    }
}
