import Core
import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes

@testable import Gateway

/// All that comes on one connection, up to the requests that are answered.
///
/// However the bytes are cut, the same requests come out of them: were it otherwise, one request could be read as two.
enum HTTPTarget {
    /// A request as it would be answered.
    struct Request: Hashable {
        var method: String
        var path: String
        var headers: [String]
        var body: [UInt8] = []
        var isComplete = false
    }

    static func run(_ bytes: [UInt8]) throws(Broken) {
        let whole = try requests([bytes], answers: false)
        for request in whole { try check(request) }
        let cut = try requests(bytes.pieces, answers: false)
        try hold(whole == cut, "in pieces other requests come of it: \(whole), \(cut)")
        let answered = try requests(bytes.pieces, answers: true)
        // A connection may end behind an answer.
        try hold(answered == Array(whole.prefix(answered.count)), "while it answers, it reads other requests")
        try handshake(bytes)
    }

    /// Who takes a TLS handshake is decided once, and the same however much has come by then.
    private static func handshake(_ bytes: [UInt8]) throws(Broken) {
        let whole = ClientHello.read(bytes)
        for count in [1, 5, 6, bytes.count / 2, bytes.count - 1] where count >= 0 && count <= bytes.count {
            switch ClientHello.read(Array(bytes.prefix(count))) {
            case .needsMore(let wanted): try hold(wanted > count, "it waits for what is there")
            case .name(let name): try hold(whole == .name(name), "more of a handshake makes it another one")
            }
        }
    }

    private static func check(_ request: Request) throws(Broken) {
        try hold(
            request.path.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F }
                && (request.path.hasPrefix("/") || request.path == "*"),
            "a path that is none: \(request.path)")
        let isPlain = request.headers.allSatisfy { $0.utf8.allSatisfy { $0 != 0 && $0 != 0x0A && $0 != 0x0D } }
        try hold(isPlain, "a header of several lines")
        let names = request.headers.map { $0.prefix { $0 != ":" } }
        try hold(!names.contains("transfer-encoding") || !names.contains("content-length"), "a body of two lengths")
    }

    private static func requests(_ pieces: [[UInt8]], answers: Bool) throws(Broken) -> [Request] {
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        let client = ClientConnection(peer: nil, local: nil)
        let connection = ConnectionGuard(
            client: client, limits: GatewayLimits(), isSurplus: false, nodeID: NodeID(Bytes16(high: 1, low: 2)))
        do {
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
            try GatewayChannel.addCodec(around: connection, to: channel.pipeline.syncOperations)
        } catch {
            throw Broken("no connection: \(error)")
        }
        var requests: [Request] = []
        for piece in pieces {
            // What is sent to a closed connection is lost.
            guard channel.isActive else { break }
            _ = try? channel.writeInbound(ByteBuffer(bytes: piece))
            while let part = try? channel.readInbound(as: HTTPRequestPart.self) {
                switch part {
                case .head(let head):
                    requests.append(
                        Request(
                            method: head.method.rawValue, path: head.path ?? "",
                            headers: head.headerFields.map { "\($0.name.canonicalName):\($0.value)" }))
                case .body(let buffer):
                    guard let last = requests.indices.last else { throw Broken("a body without a head") }
                    requests[last].body += buffer.readableBytesView
                case .end:
                    guard let last = requests.indices.last else { throw Broken("an end without a head") }
                    try hold(!requests[last].isComplete, "a request ends twice")
                    requests[last].isComplete = true
                    guard answers, channel.isActive else { continue }
                    channel.write(HTTPResponsePart.head(HTTPResponse(status: .noContent)), promise: nil)
                    channel.writeAndFlush(HTTPResponsePart.end(nil), promise: nil)
                    channel.embeddedEventLoop.run()
                }
            }
            channel.embeddedEventLoop.run()
        }
        // Of a body that breaks off it is not said how much of it is read.
        if let last = requests.indices.last, !requests[last].isComplete { requests[last].body = [] }
        return requests
    }
}
