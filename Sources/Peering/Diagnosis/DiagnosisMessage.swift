package import Core

/// "Can you reach me at these addresses, and how do you hear me?"
package struct DiagnosisQuestion: Hashable, Sendable {
    package var addresses: [NetworkAddress]
    /// The asker's clock, milliseconds since 1970.
    package var clock: UInt64

    package init(addresses: [NetworkAddress], clock: UInt64) {
        self.addresses = addresses
        self.clock = clock
    }
}

/// What another host found.
package struct DiagnosisAnswer: Hashable, Sendable {
    package struct Reached: Hashable, Sendable {
        package var address: NetworkAddress
        package var outcome: ConnectOutcome

        package init(address: NetworkAddress, outcome: ConnectOutcome) {
            self.address = address
            self.outcome = outcome
        }
    }

    /// How it came to know of the asker, and how long ago it last did.
    package struct Heard: Hashable, Sendable {
        package var channel: DiscoveryChannel
        package var age: Duration

        package init(channel: DiscoveryChannel, age: Duration) {
            self.channel = channel
            self.age = age
        }
    }

    package var reached: [Reached]
    package var heard: [Heard]
    package var clock: UInt64
    package var version: String

    package init(reached: [Reached], heard: [Heard], clock: UInt64, version: String) {
        self.reached = reached
        self.heard = heard
        self.clock = clock
        self.version = version
    }
}

/// What doctors send one another (`LinkChannel.diagnosis`): `kind | number 8 | …`. The number joins an answer to its
/// question; the asker chooses it.
package enum DiagnosisMessage: Hashable, Sendable {
    case question(number: UInt64, DiagnosisQuestion)
    case answer(number: UInt64, DiagnosisAnswer)

    package static let mostAddresses = 16
    package static let mostHeard = 16
    private static let hostBytes = 255
    private static let versionBytes = 64

    private enum Kind {
        static let question: UInt8 = 1
        static let answer: UInt8 = 2
    }

    /// Without the link channel's byte. Addresses beyond ``mostAddresses`` are left out.
    package func encoded() -> [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .question(let number, let question):
            writer.put(Kind.question)
            writer.put(bigEndian: number)
            writer.put(bigEndian: question.clock)
            let addresses = question.addresses.prefix(Self.mostAddresses)
            writer.put(varint: UInt64(addresses.count))
            for address in addresses { Self.put(address, &writer) }
        case .answer(let number, let answer):
            writer.put(Kind.answer)
            writer.put(bigEndian: number)
            writer.put(bigEndian: answer.clock)
            writer.put(lengthPrefixed: answer.version.utf8.prefix(Self.versionBytes))
            let reached = answer.reached.prefix(Self.mostAddresses)
            writer.put(varint: UInt64(reached.count))
            for one in reached {
                Self.put(one.address, &writer)
                writer.put(one.outcome.code)
            }
            let heard = answer.heard.prefix(Self.mostHeard)
            writer.put(varint: UInt64(heard.count))
            for one in heard {
                writer.put(lengthPrefixed: one.channel.rawValue.utf8)
                writer.put(varint: UInt64(clamping: one.age.wholeMilliseconds))
            }
        }
        return writer.bytes
    }

    package init(decoding payload: [UInt8]) throws(RuntimeError) {
        var reader = ByteReader(payload)
        let kind = try reader.byte()
        let number = try reader.bigEndian64()
        let clock = try reader.bigEndian64()
        switch kind {
        case Kind.question:
            var addresses: [NetworkAddress] = []
            for _ in 0..<(try Self.count(&reader, atMost: Self.mostAddresses)) {
                addresses.append(try Self.address(&reader))
            }
            try reader.expectEnd()
            self = .question(number: number, DiagnosisQuestion(addresses: addresses, clock: clock))
        case Kind.answer:
            let version = try Self.text(&reader, atMost: Self.versionBytes)
            var reached: [DiagnosisAnswer.Reached] = []
            for _ in 0..<(try Self.count(&reader, atMost: Self.mostAddresses)) {
                let address = try Self.address(&reader)
                reached.append(.init(address: address, outcome: try ConnectOutcome(code: reader.byte())))
            }
            var heard: [DiagnosisAnswer.Heard] = []
            for _ in 0..<(try Self.count(&reader, atMost: Self.mostHeard)) {
                let name = try Self.text(&reader, atMost: 32)
                let age = Duration.milliseconds(Int64(clamping: try reader.varint()))
                // A later version may know more ways.
                if let channel = DiscoveryChannel(rawValue: name) { heard.append(.init(channel: channel, age: age)) }
            }
            try reader.expectEnd()
            self = .answer(
                number: number, DiagnosisAnswer(reached: reached, heard: heard, clock: clock, version: version))
        default: throw RuntimeError(.corrupt, "a doctor's message of kind \(kind) is not known")
        }
    }

    private static func put(_ address: NetworkAddress, _ writer: inout ByteWriter) {
        writer.put(lengthPrefixed: address.host.utf8.prefix(hostBytes))
        writer.put(bigEndian: UInt16(clamping: address.port))
    }

    private static func address(_ reader: inout ByteReader) throws(RuntimeError) -> NetworkAddress {
        let host = try text(&reader, atMost: hostBytes)
        let high = try reader.byte()
        let port = Int(high) << 8 | Int(try reader.byte())
        // Addresses only: nobody makes this host look up names.
        guard port > 0, ScopedAddress(host) != nil else { throw RuntimeError(.corrupt, "an address is none") }
        return NetworkAddress(host: host, port: port)
    }

    private static func text(_ reader: inout ByteReader, atMost limit: Int) throws(RuntimeError) -> String {
        let bytes = try reader.lengthPrefixed(atMost: limit)
        guard bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw RuntimeError(.corrupt, "a text holds what cannot be printed")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func count(_ reader: inout ByteReader, atMost limit: Int) throws(RuntimeError) -> Int {
        let count = try reader.varint()
        guard count <= UInt64(limit) else { throw RuntimeError(.corrupt, "\(count) entries are too many") }
        return Int(count)
    }
}
