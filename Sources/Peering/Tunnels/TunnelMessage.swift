import Core

/// What the two ends of a tunnel tell each other before the program's bytes flow. On the link that stands for a loan
/// nothing else is ever said.
enum TunnelMessage: Hashable, Sendable {
    /// The worker is wanted, by a program of this build.
    case want(build: String)
    /// It runs; whoever names the loan is let through to it.
    case lent(Bytes16)
    /// This link is to carry one connection with the worker of that loan.
    case connect(Bytes16)
    /// What follows on this link are the connection's bytes.
    case connected
    /// No, or no longer, and why.
    case refused(String)
    /// Still there.
    case beat

    private static let textBytes = 500

    var encoded: [UInt8] {
        let message: JSON =
            switch self {
            case .want(let build): ["want": "rpc", "build": .string(build)]
            case .lent(let loan): ["lent": .string(loan.description)]
            case .connect(let loan): ["connect": .string(loan.description)]
            case .connected: ["connected": true]
            case .refused(let reason): ["refused": .string(reason)]
            case .beat: ["beat": true]
            }
        return message.encoded
    }

    /// Throws ``RuntimeError`` `.corrupt` for what is none of them.
    init(decoding bytes: [UInt8]) throws(RuntimeError) {
        guard bytes.count <= Limits.tunnelMessageBytes, let message = try? JSON.parse(bytes),
            let known = Self.read(message)
        else { throw RuntimeError(.corrupt, "the other host's igris-runtime speaks of tunnels in a way unknown here") }
        self = known
    }

    private static func read(_ message: JSON) -> TunnelMessage? {
        if message["want"]?.string == "rpc", let build = message["build"]?.string { return .want(build: plain(build)) }
        if let loan = message["lent"]?.string.flatMap({ Bytes16(hex: $0) }) { return .lent(loan) }
        if let loan = message["connect"]?.string.flatMap({ Bytes16(hex: $0) }) { return .connect(loan) }
        if message["connected"]?.bool == true { return .connected }
        if let reason = message["refused"]?.string { return .refused(plain(reason)) }
        if message["beat"]?.bool == true { return .beat }
        return nil
    }

    /// It comes from another host, and goes into logs and messages.
    private static func plain(_ text: String) -> String {
        let visible = text.unicodeScalars.filter { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) }
        return String(String.UnicodeScalarView(visible.prefix(textBytes)))
    }
}

extension TunnelMessage {
    /// The next one on a link. Throws ``RuntimeError`` `.timedOut`, `.corrupt` or `.unavailable`.
    static func next(on link: any PeerLink, within patience: Duration) async throws -> TunnelMessage {
        try await withThrowingTaskGroup(of: TunnelMessage.self) { group in
            group.addTask {
                for try await message in link.messages() { return try TunnelMessage(decoding: message) }
                try Task.checkCancellation()
                throw RuntimeError(.unavailable, "it closed the tunnel")
            }
            group.addTask {
                try await Task.sleep(for: patience)
                throw RuntimeError(.timedOut, "it did not answer within \(patience.components.seconds) s")
            }
            defer { group.cancelAll() }
            guard let message = try await group.next() else { throw CancellationError() }
            return message
        }
    }
}
