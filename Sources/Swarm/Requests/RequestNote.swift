package import Core
internal import Cryptography

/// What is written of a request that is answered in the background: it was opened, a host took it over, it ended. Every
/// host reads the same notes and so knows who is to run it. Prompts and answers stand elsewhere, in the request's
/// conversation.
///
///     version u8 | kind u8 | instance 16 | attempt varint | deadline varint | replicas varint | request (origin, sequence)?
package struct RequestNote: Hashable, Sendable {
    package enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        /// Taken from its client, and by that the first attempt of the host that took it.
        case opened = 1
        /// Another attempt, because the host of the one before is gone.
        case taken = 2
        /// The attempt has begun: it waits no longer on its host.
        case began = 3
        /// Nobody wants its result any more.
        case cancelled = 4
        /// Its result is written.
        case ended = 5
    }

    package var kind: Kind
    /// The dot of its question; nil in an `opened` note, which follows the question.
    package var request: Dot?
    /// The run of the host that wrote this.
    package var instance: InstanceID
    package var attempt: Int
    /// Milliseconds since 1970; of an `opened` note.
    package var deadline: UInt64
    /// How many successors take part in keeping it; of an `opened` note.
    package var replicas: Int

    package init(
        _ kind: Kind, of request: Dot? = nil, instance: InstanceID, attempt: Int = 1, deadline: UInt64 = 0,
        replicas: Int = 0
    ) {
        self.kind = kind
        self.request = request
        self.instance = instance
        self.attempt = attempt
        self.deadline = deadline
        self.replicas = replicas
    }

    // MARK: - Bytes

    private static let version: UInt8 = 1

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(kind.rawValue)
        writer.put(instance.bytes)
        writer.put(varint: UInt64(clamping: attempt))
        writer.put(varint: deadline)
        writer.put(varint: UInt64(clamping: replicas))
        if let request { writer.put(request) }
        return writer.bytes
    }

    /// Throws ``RuntimeError`` `.corrupt`. Nil for one of the future.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> RequestNote? {
        var reader = ByteReader(bytes)
        guard try reader.byte() == version, let kind = Kind(rawValue: try reader.byte()) else { return nil }
        var note = RequestNote(
            kind, instance: InstanceID(try reader.bytes16()), attempt: Int(clamping: try reader.varint()),
            deadline: try reader.varint(), replicas: Int(clamping: try reader.varint()))
        if !reader.isAtEnd { note.request = try reader.dot() }
        try reader.expectEnd()
        return note
    }

    // MARK: - Streams

    /// How long a request may take: those that are open stand in the streams of the last two days.
    package static let longest = Duration.seconds(86_400)

    /// The stream of the requests that are opened on one day, the same on every host: at a start what is open is read
    /// from few streams, not from the whole log.
    ///
    /// - Parameter day: since 1970.
    package static func stream(ofDay day: UInt64) -> StreamID {
        let hash = SHA256.hash(Array("igris-requests-1\u{0}\(day)".utf8))
        return StreamID(Bytes16(hash) ?? Bytes16(high: 0, low: 0))
    }

    package static func day(ofMilliseconds milliseconds: UInt64) -> UInt64 { milliseconds / 86_400_000 }
}

/// The name of a request as clients know it.
package enum RequestName {
    private static let prefix = "request_"

    package static func text(_ request: Dot) -> String { prefix + request.digits }

    package static func request(_ text: some StringProtocol) -> Dot? {
        text.hasPrefix(prefix) ? Dot(digits: text.dropFirst(prefix.count)) : nil
    }

    /// Its place on the ring: `GET /v1/swarm/dht/{id}` shows the same.
    package static func key(_ request: Dot) -> UInt64 { HashRing.key(of: text(request)) }
}
