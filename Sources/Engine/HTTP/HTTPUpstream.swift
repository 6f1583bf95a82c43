import Core
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// A server that answers requests with JSON or with events: opens connections to it, and keeps those that it leaves open.
final class HTTPUpstream: Sendable {
    /// A whole answer.
    struct Reply: Sendable {
        var head: HTTPResponseHead
        var body: [UInt8]

        var status: Int { Int(head.status.code) }
        var isSuccess: Bool { (200..<300).contains(status) }
        var json: JSON? { try? JSON.parse(body) }
    }

    /// Nobody listens, or the handshake failed.
    struct Unreachable: Error {
        var cause: any Error
    }

    private static let idleConnections = 256

    private let target: HTTPTarget
    private let key: Secret<String>?
    private let security: NIOSSLContext?
    private let idle = Mutex<[HTTPConnection]>([])

    /// - Parameter authority: a file of certificates (PEM) that are trusted beside the machine's.
    ///
    /// - Throws: ``RuntimeError`` `.system` when there are no certificates to trust, `.configuration` for a file that
    ///   holds none.
    init(_ target: HTTPTarget, key: Secret<String>?, authority: String? = nil) throws(RuntimeError) {
        self.target = target
        self.key = key
        guard key?.reveal().utf8.allSatisfy({ (0x21...0x7E).contains($0) }) ?? true else {
            throw RuntimeError(.configuration, "the model's api_key holds a space or a character that is not ASCII")
        }
        guard case .network(_, _, isSecure: true) = target.address else {
            security = nil
            return
        }
        var configuration = TLSConfiguration.makeClientConfiguration()
        if let authority {
            guard let certificates = try? NIOSSLCertificate.fromPEMFile(authority), !certificates.isEmpty else {
                throw RuntimeError(
                    .configuration, "the model's ca_file cannot be read, or holds no certificate in the PEM format")
            }
            configuration.additionalTrustRoots = [.certificates(certificates)]
        }
        do {
            security = try NIOSSLContext(configuration: configuration)
        } catch {
            throw RuntimeError(
                .system, "this machine's certificates could not be read; install ca-certificates", cause: error)
        }
    }

    /// Sends a request and returns with the head of its answer. One that fails on a connection that was kept, before
    /// anything came back, is sent again on a new one: the upstream had closed it.
    ///
    /// - Throws: ``Unreachable``, ``HTTPInbox/ConnectionLost``, `CancellationError`, ``RuntimeError`` `.timedOut`.
    func open(
        _ method: HTTPMethod, _ path: String, json: JSON? = nil, headers: [(String, String)] = [],
        bounds: EngineBounds
    ) async throws -> (head: HTTPResponseHead, connection: HTTPConnection) {
        let body = json?.encoded ?? []
        let head = head(method, path, body: json == nil ? nil : body.count, headers)
        while let kept = takeIdle() {
            do {
                return (try await begin(head, body, on: kept, bounds), kept)
            } catch is HTTPInbox.ConnectionLost {
                kept.close()
            }
        }
        let connection: HTTPConnection
        do {
            connection = try await HTTPConnection.open(target, security: security, bounds: bounds)
        } catch let error where !(error is CancellationError) {
            throw Unreachable(cause: error)
        }
        return (try await begin(head, body, on: connection, bounds), connection)
    }

    /// Sends a request and returns its whole answer, up to `limit` bytes.
    func send(
        _ method: HTTPMethod, _ path: String, json: JSON? = nil, limit: Int = 16 * 1024 * 1024, bounds: EngineBounds
    ) async throws -> Reply {
        let (head, connection) = try await open(method, path, json: json, bounds: bounds)
        return Reply(head: head, body: try await rest(of: connection, limit: limit))
    }

    /// Reads what remains of an answer.
    func rest(of connection: HTTPConnection, limit: Int) async throws -> [UInt8] {
        var body: [UInt8] = []
        do {
            while case .body(let bytes) = try await connection.next() {
                body += bytes.readableBytesView
                guard body.count <= limit else {
                    throw RuntimeError(.engineFailed, "the upstream's answer grew past \(limit) bytes")
                }
            }
        } catch {
            connection.close()
            throw error
        }
        release(connection)
        return body
    }

    /// The exchange on it is over: whoever asked has what it wanted.
    func release(_ connection: HTTPConnection) {
        let isKept = idle.withLock { idle in
            // A local socket is opened faster than a kept one is checked.
            guard case .network = target.address, idle.count < Self.idleConnections, connection.drain() else {
                return false
            }
            idle.append(connection)
            return true
        }
        if !isKept { connection.close() }
    }

    func closeIdle() {
        let all = idle.withLock { idle in
            defer { idle = [] }
            return idle
        }
        for connection in all { connection.close() }
    }

    /// On an event loop only one of that loop: a connection of its own is opened once, and each piece of an answer that
    /// comes in on another loop has to wake this one. Where opening takes a handshake any is better than none.
    private func takeIdle() -> HTTPConnection? {
        let needsItsOwn = security == nil && HTTPConnection.isOnLoop
        return idle.withLock { idle in
            while let place = idle.lastIndex(where: \.isOnThisThread) ?? (needsItsOwn ? nil : idle.indices.last) {
                let connection = idle.remove(at: place)
                if connection.isReusable { return connection }
                connection.close()
            }
            return nil
        }
    }

    private func begin(
        _ head: HTTPRequestHead, _ body: [UInt8], on connection: HTTPConnection, _ bounds: EngineBounds
    ) async throws -> HTTPResponseHead {
        connection.send(head, body: body, bounds: bounds)
        guard case .head(let answer) = try await connection.next() else { throw HTTPInbox.ConnectionLost() }
        return answer
    }

    private func head(
        _ method: HTTPMethod, _ path: String, body: Int?, _ headers: [(String, String)]
    ) -> HTTPRequestHead {
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: target.prefix + path)
        head.headers.add(name: "host", value: target.authority)
        head.headers.add(name: "accept", value: "application/json, text/event-stream")
        head.headers.add(name: "user-agent", value: "igris-runtime")
        if let body {
            head.headers.add(name: "content-type", value: "application/json")
            head.headers.add(name: "content-length", value: "\(body)")
        }
        if let key { head.headers.add(name: "authorization", value: "Bearer \(key.reveal())") }
        for (name, value) in headers { head.headers.add(name: name, value: value) }
        return head
    }
}
