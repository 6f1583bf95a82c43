import Core

/// One kind of bytes that come from outside, and what must hold whatever they are (docs/fuzzing.md). libFuzzer calls it
/// with bytes that it makes up (`make fuzz`), the tests with those that are kept.
enum FuzzTarget: String, CaseIterable {
    case http
    case json
    case chat
    case json5
    case swarm
    case datagram
    case service
    case gguf
    case store
    case template
    case credentials
    case streams

    /// Refusing the bytes is right; trapping, hanging and a ``Broken`` promise are findings.
    func run(_ bytes: [UInt8]) throws(Broken) {
        switch self {
        case .http: try HTTPTarget.run(bytes)
        case .json: try JSONTarget.run(bytes)
        case .chat: try ChatTarget.run(bytes)
        case .json5: try JSON5Target.run(bytes)
        case .swarm: try SwarmTarget.run(bytes)
        case .datagram: try DatagramTarget.run(bytes)
        case .service: try ServiceTarget.run(bytes)
        case .gguf: try GGUFTarget.run(bytes)
        case .store: try StoreTarget.run(bytes)
        case .template: try TemplateTarget.run(bytes)
        case .credentials: try CredentialsTarget.run(bytes)
        case .streams: try StreamsTarget.run(bytes)
        }
    }
}

/// A promise that some bytes have broken.
struct Broken: Error, CustomStringConvertible {
    let description: String

    init(_ promise: String) { description = promise }
}

/// Throws ``Broken`` with the promise where it does not hold.
func hold(_ isKept: @autoclosure () -> Bool, _ promise: @autoclosure () -> String) throws(Broken) {
    if !isKept() { throw Broken(promise()) }
}

extension [UInt8] {
    /// The first byte chooses what the rest is.
    func choice(of count: Int) -> (number: Int, rest: [UInt8]) {
        guard let first, count > 0 else { return (0, []) }
        return (Int(first) % count, Array(dropFirst()))
    }

    /// In pieces of uneven length that the bytes' count alone decides.
    var pieces: [[UInt8]] {
        var pieces: [[UInt8]] = []
        var start = 0
        var length = 1 + count % 7
        while start < count {
            let end = Swift.min(count, start + length)
            pieces.append(Array(self[start..<end]))
            start = end
            length = length % 11 + 1
        }
        return pieces
    }

    /// What stands between bytes of that value.
    func parts(_ separator: UInt8) -> [[UInt8]] {
        split(separator: separator, omittingEmptySubsequences: false).map { Array($0) }
    }
}
