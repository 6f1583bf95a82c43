import Core
import NIOCore
import NIOHTTP1

/// One `GET` on another host of the swarm.
final class PeerRequest: PeerConnection.Exchange {
    private let path: String
    private let range: Range<Int>?
    private let address: NetworkAddress
    private let node: NodeID
    private let isDenied: @Sendable (NodeID) -> Bool
    private let limit: Int
    private var body: [UInt8] = []

    init(
        path: String, range: Range<Int>?, address: NetworkAddress, node: NodeID,
        isDenied: @escaping @Sendable (NodeID) -> Bool
    ) {
        self.path = path
        self.range = range
        self.address = address
        self.node = node
        self.isDenied = isDenied
        limit = min(range?.count ?? .max, Limits.peerResponseBytes)
    }

    func begin(with peer: PeerCertificate) throws -> HTTPRequestHead {
        guard peer.node == node else {
            throw LinkFailure(
                .unreachable, "host \(node) is not at \(address) any more: host \(peer.node) answers there")
        }
        guard !isDenied(node) else {
            throw LinkFailure(.denied, "host \(node) at \(address) was evicted from this swarm")
        }
        var headers: HTTPHeaders = ["host": "\(address)", "connection": "close"]
        if let range { headers.add(name: "range", value: "bytes=\(range.lowerBound)-\(range.upperBound - 1)") }
        return HTTPRequestHead(version: .http1_1, method: .GET, uri: path, headers: headers)
    }

    func received(_ part: HTTPClientResponsePart, on channel: any Channel) throws -> PeerConnection.Outcome<[UInt8]> {
        switch part {
        case .head(let head):
            // The whole instead of a part would be another range than was asked for.
            guard head.status == (range == nil ? .ok : .partialContent) else { throw refusal(head.status) }
            return .more
        case .body(let buffer):
            guard buffer.readableBytes <= limit - body.count else {
                throw RuntimeError(.tooLarge, "host \(node) sends more than the \(limit) bytes that were asked for")
            }
            body += buffer.readableBytesView
            return .more
        case .end: return .done(body)
        }
    }

    private func refusal(_ status: HTTPResponseStatus) -> RuntimeError {
        let code: RuntimeError.Code =
            switch status {
            case .unauthorized: .unauthenticated
            case .forbidden: .forbidden
            case .notFound, .gone: .notFound
            case .tooManyRequests: .overloaded
            case .badRequest, .rangeNotSatisfiable, .ok: .invalidRequest
            default: .unavailable
            }
        return RuntimeError(code, "host \(node) answers GET \(path) with HTTP \(status.code)")
    }
}
