import Core

/// What happened, as a hash and, where somebody reads along, as lines: equal for equal seeds, whatever the process.
package struct Trace: Sendable {
    /// FNV-1a over everything noted.
    package private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    package private(set) var events = 0
    /// Called with each line; nil where only the hash is wanted.
    private let print: (@Sendable (String) -> Void)?

    init(print: (@Sendable (String) -> Void)?) { self.print = print }

    var isRead: Bool { print != nil }

    /// Notes an event: a word for its kind and numbers that tell it from others. The line is only made for a reader.
    mutating func note(
        _ kind: UInt64, _ first: UInt64, _ second: UInt64 = 0, _ third: UInt64 = 0, at now: Duration,
        _ line: @autoclosure () -> String
    ) {
        events += 1
        let nanoseconds = UInt64(truncatingIfNeeded: now.attoseconds / 1_000_000_000)
        for number in [kind, first, second, third, nanoseconds] { mix(number) }
        guard let print else { return }
        let milliseconds = nanoseconds / 1_000_000
        let fraction = nanoseconds / 1_000 % 1_000
        print("\(milliseconds).\(Self.padded(fraction)) \(line())")
    }

    /// Mixes the bytes of a message or an operation.
    mutating func mix(_ bytes: [UInt8]) {
        var digest = hash
        for byte in bytes { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01B3 }
        hash = digest
    }

    mutating func mix(_ number: UInt64) { hash = (hash ^ number) &* 0x100_0000_01B3 }

    private static func padded(_ number: UInt64) -> String {
        number < 10 ? "00\(number)" : number < 100 ? "0\(number)" : "\(number)"
    }
}
