import Core
import Testing

@testable import Store

/// What every ``ContextStore`` does, run over both of ours.
@Suite struct ContextStoreTests {
    enum Medium: CaseIterable, Sendable {
        case disk
        case memory
    }

    static func open(_ medium: Medium, in sandbox: Sandbox) async throws -> SQLiteContextStore {
        switch medium {
        case .disk: try await .opened(sandbox)
        case .memory:
            try await .open(
                .memory, key: Fixture.key, node: Fixture.node, hostname: "host", environment: Fixture.environment)
        }
    }

    @Test("An empty store knows nothing and says so", arguments: Medium.allCases)
    func empty(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        let recovered = try await store.recover()
        #expect(recovered.origin.node == Fixture.node && recovered.origin.epoch > 0)
        #expect(recovered.heads.isEmpty && recovered.latestTimestamp.rawValue == 0)
        #expect(try await store.operations(of: Fixture.stream(1)).isEmpty)
        #expect(try await store.operations(of: recovered.origin, after: 0, limit: 10).isEmpty)
        #expect(try await store.conversation(Fixture.stream(1)) == nil)
        #expect(try await store.conversations(of: .local, limit: 10).isEmpty)
        #expect(try await store.firstMatch(of: [PrefixHash(rawValue: 1)]) == nil)
        let statistics = try await store.statistics()
        #expect(statistics.operations == 0 && statistics.conversations == 0)
        #expect((statistics.bytes > 0) == (medium == .disk))
        await store.close()
    }

    @Test("What is committed is read back, of several origins, owners and conversations", arguments: Medium.allCases)
    func readsBack(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        let own = try await store.recover().origin
        let origins = [own, Origin(node: Fixture.peer, epoch: 4), Origin(node: Fixture.peer, epoch: 9)]
        var generator = SeededGenerator(seed: 3)
        var model = LogModel()
        for number in 0..<200 {
            let stream = UInt64.random(in: 1...12, using: &generator)
            let commit = model.turn(
                origins[Int.random(in: 0..<3, using: &generator)], stream: Fixture.stream(stream),
                owner: Fixture.owner(Int(stream) % 3), text: "text \(number)", prefix: UInt64(number) << 40)
            model.apply(commit)
            try await store.commit(commit)
        }
        #expect(try await model.difference(from: store) == nil)
        await store.close()
    }

    @Test("Operations of an origin come after a sequence and up to a limit", arguments: Medium.allCases)
    func ranges(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        let own = try await store.recover().origin
        let other = Origin(node: Fixture.peer, epoch: 1)
        var model = LogModel()
        for number in 0..<10 {
            for origin in [own, other] {
                let commit = model.turn(origin, stream: Fixture.stream(1), text: "\(number)")
                model.apply(commit)
                try await store.commit(commit)
            }
        }
        let some = try await store.operations(of: own, after: 3, limit: 4)
        #expect(some.map(\.dot.sequence) == [4, 5, 6, 7] && some.allSatisfy { $0.dot.origin == own })
        #expect(try await store.operations(of: own, after: 10, limit: 4).isEmpty)
        #expect(try await store.operations(of: own, after: .max, limit: 4).isEmpty)
        #expect(try await store.operations(of: own, after: 0, limit: 0).isEmpty)
        await store.close()
    }

    @Test("The latest conversations of an owner come first, up to the limit", arguments: Medium.allCases)
    func latestFirst(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in [1, 2, 3, 4, 2] as [UInt64] {
            let commit = model.turn(origin, stream: Fixture.stream(number), text: "x")
            model.apply(commit)
            try await store.commit(commit)
        }
        let headers = try await store.conversations(of: .local, limit: 3)
        #expect(headers.map(\.stream) == [2, 4, 3].map(Fixture.stream))
        #expect(try await store.conversations(of: Owner(name: "nobody"), limit: 3).isEmpty)
        await store.close()
    }

    @Test("The first known prefix wins, the later turn for equal ones", arguments: Medium.allCases)
    func prefixes(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for (stream, prefix) in [(1, 10), (1, 11), (2, 10)] as [(UInt64, UInt64)] {
            let commit = model.turn(origin, stream: Fixture.stream(stream), text: "x", prefix: prefix)
            model.apply(commit)
            try await store.commit(commit)
        }
        // A prefix may also be told later, and an operation have several.
        let late = PrefixMatch(
            prefix: PrefixHash(rawValue: 99), stream: Fixture.stream(1), dot: Dot(origin: origin, sequence: 1))
        try await store.commit(Commit(prefixes: [late]))
        let match = try await store.firstMatch(of: [12, 11, 10].map(PrefixHash.init(rawValue:)))
        #expect(match?.dot.sequence == 2 && match?.stream == Fixture.stream(1))
        #expect(try await store.firstMatch(of: [PrefixHash(rawValue: 10)])?.dot.sequence == 3)
        #expect(try await store.firstMatch(of: [PrefixHash(rawValue: 99)]) == late)
        #expect(try await store.firstMatch(of: [PrefixHash(rawValue: 12)]) == nil)
        await store.close()
    }

    @Test("Deletion leaves hashes in place of bodies, and no rows of the views", arguments: Medium.allCases)
    func deletion(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        for number in 0..<20 {
            let commit = model.turn(
                origin, stream: Fixture.stream(UInt64(number % 2)), text: "\(number)", prefix: UInt64(number))
            model.apply(commit)
            try await store.commit(commit)
        }
        var deletion = model.turn(origin, stream: Fixture.stream(0), text: "", kind: .delete)
        deletion.operations[0].body = []
        deletion.heads = deletion.operations.map(model.head(after:))
        deletion.conversations = []
        deletion.erasures = model.operations(of: Fixture.stream(0)).map(\.dot) + deletion.operations.map(\.dot)
        deletion.removals = [Fixture.stream(0), Fixture.stream(404)]
        model.apply(deletion)
        try await store.commit(deletion)
        #expect(try await model.difference(from: store) == nil)
        let erased = try await store.operations(of: Fixture.stream(0))
        #expect(erased.dropLast().allSatisfy { $0.flags.contains(.erased) && $0.body.count == 32 })
        #expect(erased.last?.kind == .delete && erased.last?.flags == [])
        #expect(try await store.firstMatch(of: [PrefixHash(rawValue: 0)]) == nil)
        #expect(try await store.firstMatch(of: [PrefixHash(rawValue: 1)]) != nil)
        await store.close()
    }

    @Test("A commit that fails leaves nothing, and the next one works", arguments: Medium.allCases)
    func allOrNothing(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        let first = model.turn(origin, stream: Fixture.stream(1), text: "first")
        model.apply(first)
        try await store.commit(first)
        var broken = model.turn(origin, stream: Fixture.stream(2), owner: Fixture.owner(5), text: "new")
        var gap = model.turn(Origin(node: Fixture.peer, epoch: 1), stream: Fixture.stream(2), text: "gap")
        gap.operations[0].dot = Dot(origin: gap.operations[0].dot.origin, sequence: 2)
        broken.operations += gap.operations
        await #expect(throws: RuntimeError.self) { try await store.commit(broken) }
        #expect(try await model.difference(from: store) == nil)
        let good = model.turn(origin, stream: Fixture.stream(2), owner: Fixture.owner(5), text: "new")
        model.apply(good)
        try await store.commit(good)
        #expect(try await model.difference(from: store) == nil)
        await store.close()
    }

    @Test(
        "A sequence used before, one skipped, and operations without their head are refused", arguments: Medium.allCases
    )
    func badSequences(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        let origin = try await store.recover().origin
        var model = LogModel()
        let first = model.turn(origin, stream: Fixture.stream(1), text: "first")
        await #expect(throws: RuntimeError.self) {
            try await store.commit(Commit(operations: first.operations, conversations: first.conversations))
        }
        try await store.commit(first)
        await #expect(throws: RuntimeError.self) { try await store.commit(first) }
        model.apply(first)
        var skipping = model.turn(origin, stream: Fixture.stream(1), text: "third")
        skipping.operations[0].dot = Dot(origin: origin, sequence: 3)
        await #expect(throws: RuntimeError.self) { try await store.commit(skipping) }
        #expect(try await model.difference(from: store) == nil)
        await store.close()
    }

    @Test("After closing every call is refused", arguments: Medium.allCases)
    func closed(medium: Medium) async throws {
        let sandbox = Sandbox()
        let store = try await Self.open(medium, in: sandbox)
        _ = try await store.recover()
        await store.close()
        await store.close()
        await #expect(throws: RuntimeError.self) { try await store.recover() }
        await #expect(throws: RuntimeError.self) { try await store.commit(Commit()) }
        await #expect(throws: RuntimeError.self) { try await store.operations(of: Fixture.stream(1)) }
        await #expect(throws: RuntimeError.self) { try await store.statistics() }
    }
}
