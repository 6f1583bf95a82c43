import Core
import Node
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(1))) struct SnapshotTransferTests {
    private static let path = "/v1/sync/snapshot/\(ScriptedSwarm.snapshotID)"
    /// Printable, so that the test client's text is the bytes; longer than two parts.
    private static let content: [UInt8] = (0..<Limits.snapshotPartBytes * 2 + 100).map { (index: Int) -> UInt8 in
        UInt8(33 + (index * 7 + index / 251) % 90)
    }
    private static var swarm: ScriptedSwarm { ScriptedSwarm { $0.snapshot = content } }
    private static let tag = "\"\(ScriptedSwarm.snapshotID)\""

    @Test("the manifest comes as it was made")
    func manifest() async throws {
        let swarm = Self.swarm
        // The test client reads text: of a binary body only the length is compared here, CoreTests read the form.
        let reply = try await ask(
            "HEAD /v1/sync/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n", hasBody: false, swarm: swarm, asPeer: true)
        #expect(reply.status == 200)
        #expect(reply.headers["etag"] == Self.tag)
        #expect(reply.headers["content-type"] == "application/octet-stream")
        #expect(reply.headers["content-length"] == "\(try await swarm.makeSnapshot().encoded.count)")
    }

    @Test("a snapshot comes whole, piece by piece")
    func whole() async throws {
        let swarm = Self.swarm
        let reply = try await ask(get(Self.path), swarm: swarm, asPeer: true)
        #expect(reply.status == 200)
        #expect(reply.headers["accept-ranges"] == "bytes")
        #expect(Array(reply.body.utf8) == Self.content)
        let part = Limits.snapshotPartBytes
        #expect(
            swarm.deeds == [
                "bytes \(0..<part)", "bytes \(part..<2 * part)", "bytes \(2 * part..<Self.content.count)",
            ])
    }

    @Test(
        "a part of it comes as 206 and says which",
        arguments: [
            ("bytes=0-9", 0..<10), ("bytes=100-", 100..<content.count), ("bytes=-7", content.count - 7..<content.count),
            ("bytes=5-99999999", 5..<content.count),
        ])
    func part(_ range: String, _ expected: Range<Int>) async throws {
        let reply = try await ask(get(Self.path, "Range: \(range)\r\n"), swarm: Self.swarm, asPeer: true)
        #expect(reply.status == 206)
        #expect(
            reply.headers["content-range"]
                == "bytes \(expected.lowerBound)-\(expected.upperBound - 1)/\(Self.content.count)")
        #expect(Array(reply.body.utf8) == Array(Self.content[expected]))
    }

    @Test("a transfer goes on where it broke off, unless the tag is another snapshot's")
    func resumed() async throws {
        let rest = "Range: bytes=300000-\r\n"
        let same = try await ask(get(Self.path, rest + "If-Range: \(Self.tag)\r\n"), swarm: Self.swarm, asPeer: true)
        #expect(same.status == 206 && Array(same.body.utf8) == Array(Self.content[300_000...]))
        let other = try await ask(get(Self.path, rest + "If-Range: \"00\"\r\n"), swarm: Self.swarm, asPeer: true)
        #expect(other.status == 200 && other.body.utf8.count == Self.content.count)
    }

    @Test("a part that is not there is 416 with the length")
    func outside() async throws {
        let reply = try await ask(get(Self.path, "Range: bytes=9999999-\r\n"), swarm: Self.swarm, asPeer: true)
        #expect(reply.status == 416)
        #expect(reply.headers["content-range"] == "bytes */\(Self.content.count)")
    }

    @Test(
        "a snapshot that has gone is a plain 404",
        arguments: ["/v1/sync/snapshot/xyz", "/v1/sync/snapshot/\(Bytes16(high: 1, low: 1))"])
    func gone(_ path: String) async throws {
        let reply = try await ask(get(path), swarm: Self.swarm, asPeer: true)
        #expect(reply.status == 404)
    }

    @Test("the connection serves on after a part")
    func keepAlive() async throws {
        try await withGateway(
            ScriptedNode { _, _ in .scripted([]) }, swarm: Self.swarm, door: .scripted(PeerDoor.member)
        ) { port, _ in
            try await RawClient.connected(to: port) { client in
                try await client.send("\u{16}" + get(Self.path, "Range: bytes=0-2\r\n"))
                #expect(try await client.response().body.utf8.count == 3)
                try await client.send("HEAD \(Self.path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
                #expect(try await client.response(hasBody: false).headers["content-length"] == "\(Self.content.count)")
                try await client.send(get(Self.path, "Range: bytes=3-4\r\n"))
                #expect(try await client.response().body.utf8.count == 2)
            }
        }
    }

    @Test(
        "a Range header is read as the RFC says",
        arguments: [
            (nil, 10, .whole), ("bytes=0-0", 10, .part(0..<1)), ("bytes=9-", 10, .part(9..<10)),
            ("bytes=-3", 10, .part(7..<10)), ("bytes=-30", 10, .part(0..<10)), ("bytes=-0", 10, .unsatisfiable),
            ("bytes=10-", 10, .unsatisfiable), ("bytes=0-", 0, .unsatisfiable), ("bytes=-1", 0, .unsatisfiable),
            ("bytes=5-4", 10, .whole), ("bytes=a-", 10, .whole), ("bytes=-", 10, .whole), ("bytes=1", 10, .whole),
            ("items=0-1", 10, .whole), ("bytes=0-1,3-4", 10, .whole), ("bytes=+1-2", 10, .whole),
            ("bytes=0-99999999999999999999", 10, .part(0..<10)),
            ("bytes=99999999999999999999-", 10, .unsatisfiable), ("bytes=0-9223372036854775807", 10, .part(0..<10)),
        ] as [(String?, Int, ByteRange)])
    func ranges(_ header: String?, _ length: Int, _ expected: ByteRange) {
        #expect(ByteRange(header, length: length) == expected)
    }
}
