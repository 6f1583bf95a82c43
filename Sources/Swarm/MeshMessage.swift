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
    /// Of the messages on links. Another one is refused, with a reason.
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
    package var encoded: [UInt8] { [] }
    /// Nil: a kind of message that this version does not know, to be skipped.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> MeshMessage? { nil }
}
