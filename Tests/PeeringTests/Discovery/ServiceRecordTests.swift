import Core
import Cryptography
import Testing

@testable import Peering

@Suite struct ServiceRecordTests {
    private let record = ServiceRecord(TestSwarm.announcement(1))

    @Test func `What is written is read back, within one datagram`() throws {
        let text = record.encoded(key: TestSwarm.key)
        #expect(text.count <= ServiceRecord.largest)
        let (read, code) = try #require(ServiceRecord.decode(text, port: 8080))
        #expect(read == record)
        #expect(read.isAuthentic(code, key: TestSwarm.key))
        #expect(!read.isAuthentic(code, key: TestSwarm.otherKey))
    }

    @Test func `The code covers the port, which stands elsewhere`() throws {
        let (read, code) = try #require(ServiceRecord.decode(record.encoded(key: TestSwarm.key), port: 8081))
        #expect(!read.isAuthentic(code, key: TestSwarm.key))
    }

    @Test func `Mutated texts neither trap nor pass for authentic`() {
        var random = Seeded(7)
        let original = record.encoded(key: TestSwarm.key)
        for _ in 0..<10_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let position = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: position)
                default: bytes.remove(at: position)
                }
            }
            guard let (read, code) = ServiceRecord.decode(bytes, port: 8080) else { continue }
            #expect(read == record || !read.isAuthentic(code, key: TestSwarm.key))
        }
    }

    @Test func `Unknown entries are passed over, and the first of two equal ones stands`() throws {
        func entry(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }
        let text = entry("future=1") + entry("flag") + record.encoded(key: TestSwarm.key) + entry("id=00")
        #expect(try #require(ServiceRecord.decode(text, port: 8080)).record == record)
    }
}

@Suite struct ServiceBookTests {
    private let name = ServiceName(name: "x", type: "_igris-mcp._tcp.", domain: "local.", interface: 2)
    private let record = ServiceRecord(TestSwarm.announcement(2))

    private func known(_ book: inout ServiceBook) -> [ServiceBook.Effect] {
        _ = book.step(.added(name), now: .zero)
        _ = book.step(.resolved(name, record, target: "host.local."), now: .zero)
        return book.step(.addressed(name, .neighbour), now: .zero)
    }

    @Test func `A service is resolved, its address asked for, and the host sighted`() {
        var book = ServiceBook()
        #expect(book.isAlone)
        #expect(book.step(.added(name), now: .zero) == [.resolve(name)])
        #expect(
            book.step(.resolved(name, record, target: "host.local."), now: .zero)
                == [.query(name, target: "host.local.", isIPv6: false)])
        let effects = book.step(.addressed(name, .neighbour), now: .zero)
        #expect(effects.first == .drop(name))
        guard case .sighted(let sighting) = effects.last else {
            Issue.record("no sighting")
            return
        }
        #expect(sighting.addresses == [NetworkAddress(host: "192.168.1.9", port: 8080)])
        #expect(sighting.node == TestSwarm.node(2))
        #expect(!book.isAlone && !book.isAsking && book.found == 1)
    }

    @Test func `Without an IPv4 address the IPv6 one is asked for, and without any it is tried again later`() {
        var book = ServiceBook()
        _ = book.step(.added(name), now: .zero)
        _ = book.step(.resolved(name, record, target: "host.local."), now: .zero)
        #expect(
            book.step(.ticked, now: .seconds(2)) == [.query(name, target: "host.local.", isIPv6: true)])
        #expect(book.step(.failed(name), now: .seconds(3)) == [.drop(name)])
        #expect(book.step(.ticked, now: .seconds(7)) == [])
        #expect(book.step(.ticked, now: .seconds(8)) == [.resolve(name)])
    }

    @Test func `A service that is shown for both IP versions goes when both are gone, with a goodbye`() {
        var book = ServiceBook()
        _ = known(&book)
        #expect(book.step(.added(name), now: .zero) == [])
        #expect(book.step(.removed(name), now: .seconds(1)) == [])
        let effects = book.step(.removed(name), now: .seconds(1))
        guard case .sighted(let sighting) = effects.last else {
            Issue.record("no goodbye")
            return
        }
        #expect(sighting.isLeaving)
        #expect(book.isAlone)
    }

    @Test func `Only so many questions are open at once, and all are asked in the end`() {
        var book = ServiceBook()
        var names: Set<ServiceName> = []
        var resolving: Set<ServiceName> = []
        func take(_ effects: [ServiceBook.Effect]) {
            for effect in effects {
                if case .resolve(let name) = effect {
                    names.insert(name)
                    resolving.insert(name)
                }
            }
        }
        for number in 0..<100 {
            let name = ServiceName(name: "\(number)", type: "t", domain: "d", interface: 1)
            take(book.step(.added(name), now: .zero))
            #expect(resolving.count <= ServiceBook.mostOpen)
        }
        while let next = resolving.first {
            resolving.remove(next)
            take(book.step(.dismissed(next), now: .seconds(1)))
            #expect(resolving.count <= ServiceBook.mostOpen)
        }
        #expect(names.count == 100)
    }

    @Test func `A host that stays is sighted again, one that did not convince is looked at again`() {
        var book = ServiceBook()
        _ = known(&book)
        #expect(book.step(.ticked, now: .seconds(29)) == [])
        #expect(book.step(.ticked, now: .seconds(30)).count == 1)
        var other = ServiceBook()
        _ = other.step(.added(name), now: .zero)
        #expect(other.step(.dismissed(name), now: .zero) == [.drop(name)])
        #expect(other.step(.ticked, now: .seconds(59)) == [])
        #expect(other.step(.ticked, now: .seconds(60)) == [.resolve(name)])
    }

    /// Whatever comes in whatever order: no trap, no growth, no question for what is not there.
    @Test func `Random events leave the book consistent`() {
        var random = Seeded(8)
        for _ in 0..<200 {
            var book = ServiceBook()
            var open: Set<ServiceName> = []
            var now = Duration.zero
            for _ in 0..<300 {
                let name = ServiceName(
                    name: "\(Int.random(in: 0..<40, using: &random))", type: "t", domain: "d", interface: 1)
                now += .milliseconds(Int.random(in: 0...2_000, using: &random))
                let event: ServiceBook.Event =
                    switch Int.random(in: 0..<7, using: &random) {
                    case 0: .added(name)
                    case 1: .removed(name)
                    case 2: .resolved(name, record, target: "h")
                    case 3: .dismissed(name)
                    case 4: .addressed(name, .neighbour)
                    case 5: .failed(name)
                    default: .ticked
                    }
                for effect in book.step(event, now: now) {
                    switch effect {
                    case .resolve(let name), .query(let name, _, _): open.insert(name)
                    case .drop(let name): open.remove(name)
                    case .sighted: break
                    }
                }
                #expect(open.count <= ServiceBook.mostOpen)
                #expect(book.isAsking == !open.isEmpty)
            }
        }
    }
}
