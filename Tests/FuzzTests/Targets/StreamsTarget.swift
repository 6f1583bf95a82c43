import Core
import NIOCore
import NIOEmbedded
import NIOWebSocket
import Synchronization

@testable import Engine
@testable import Peering

/// Streams whose pieces the network cuts where it likes: events of remote engines, lines of engines, frames of links. The
/// first byte chooses which. However they are cut, the same is read.
enum StreamsTarget {
    static func run(_ bytes: [UInt8]) throws(Broken) {
        let (number, rest) = bytes.choice(of: 6)
        switch number {
        case 0: try answer(rest, stops: [])
        case 1: try answer(rest, stops: ["END", "\n\n"])
        case 2: try lines(rest)
        case 3: try frames(rest, isDialed: false)
        case 4: try frames(rest, isDialed: true)
        default: try completion(rest)
        }
    }

    // MARK: Answers of remote engines

    private static func answer(_ bytes: [UInt8], stops: [String]) throws(Broken) {
        let whole = read([bytes], stops)
        let cut = read(bytes.pieces, stops)
        try hold(whole == cut, "an answer in pieces reads otherwise: \(whole), \(cut)")
        var request = GenerationRequest(messages: [], maximumTokens: 16)
        request.shape.logprobs = 2
        var stream = ChatStream(subject: "e", request: request, estimate: 1, outputLimit: 4_096, stops: stops)
        _ = try? stream.whole(bytes)
        _ = try? EmbeddingsBody.read(bytes, count: 2, subject: "e")
    }

    /// All that was understood before the end or the first error, texts joined.
    private static func read(_ pieces: [[UInt8]], _ stops: [String]) -> [GenerationEvent] {
        var request = GenerationRequest(messages: [], maximumTokens: 16)
        request.shape.logprobs = 2
        var stream = ChatStream(
            subject: "e", request: request, estimate: 1, outputLimit: 4_096, written: 3, stops: stops)
        var events: [GenerationEvent] = []
        for piece in pieces {
            guard let more = try? stream.append(piece) else { return [] }
            events += more
        }
        // A call without an id gets one by chance.
        return events.map {
            guard case .toolCall(var piece) = $0 else { return $0 }
            piece.id = piece.id.map { _ in "" }
            return .toolCall(piece)
        }
    }

    private static func completion(_ bytes: [UInt8]) throws(Broken) {
        func text(_ pieces: [[UInt8]]) -> (text: String, end: CompletionOutput.End?) {
            var output = CompletionOutput(marker: "\n> ", stop: ["END"])
            var text = pieces.map { output.append($0) }.joined()
            let end = output.end
            if end == nil { text += output.finishWithoutMarker() }
            return (text, end)
        }
        let (whole, cut) = (text([bytes]), text(bytes.pieces))
        try hold(whole.end == cut.end, "a program's answer in pieces ends otherwise")
        try hold(whole.text == cut.text, "a program's answer in pieces reads otherwise")
        try hold(!whole.text.utf8.contains("END".utf8), "a stop string is shown")
    }

    // MARK: Lines of engines

    private static func lines(_ bytes: [UInt8]) throws(Broken) {
        func lines(_ pieces: [[UInt8]]) -> [[UInt8]]? {
            var splitter = LineSplitter(limit: 1_024)
            var lines: [[UInt8]] = []
            for piece in pieces {
                guard let more = try? splitter.append(piece) else { return nil }
                lines += more
            }
            return lines
        }
        let whole = lines([bytes])
        try hold(whole == lines(bytes.pieces), "lines in pieces read otherwise")
        for line in whole ?? [] {
            guard case .ready(let ready)? = try? EngineMessage(line: line) else { continue }
            try hold(ready.contextLength > 0 && (1...64).contains(ready.slots), "an engine without bounds")
        }
    }

    // MARK: Frames of links

    private static func frames(_ bytes: [UInt8], isDialed: Bool) throws(Broken) {
        let whole = received([bytes], isDialed)
        let cut = received(bytes.pieces, isDialed)
        // What comes with a broken frame may be lost with the link; what was read is the same as far as it goes.
        let (short, long) = whole.count < cut.count ? (whole, cut) : (cut, whole)
        try hold(long.starts(with: short), "messages in pieces read otherwise")
    }

    private static func received(_ pieces: [[UInt8]], _ isDialed: Bool) -> [[UInt8]] {
        let inbox = LinkInbox()
        let handler = LinkHandler(outbox: LinkOutbox(), inbox: inbox, traffic: LinkTraffic(), isDialed: isDialed)
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        guard (try? channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()) != nil,
            (try? channel.pipeline.syncOperations.addHandlers(
                ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: Limits.linkMessageBytes)), handler)) != nil
        else { return [] }
        for piece in pieces where channel.isActive { _ = try? channel.writeInbound(ByteBuffer(bytes: piece)) }
        return inbox.state.withLock { Array($0.messages) }
    }
}
