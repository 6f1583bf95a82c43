import Core
import Testing

@testable import Swarm

@Suite struct EquivocationProofTests {
    private static let past = (1...2).map { Fixture.operation(Fixture.dot(1, $0)) }
    private static func branch(_ texts: [String]) -> OperationBatch {
        let operations = texts.indices.map {
            Fixture.operation(Fixture.dot(1, UInt64($0) + 3), text: texts[$0])
        }
        return Fixture.batch(operations, over: past)
    }
    private static var chain: ChainHash { past.reduce(.empty, OperationLog.chain) }
    private static func proof(_ left: OperationBatch, _ right: OperationBatch) -> EquivocationProof? {
        EquivocationProof(after: 2, chain, left, right, Fixture.seals(2))
    }

    @Test("Two signed streams that part are proof, whatever their lengths, and can be written and read")
    func holds() throws {
        let proof = try #require(Self.proof(Self.branch(["a"]), Self.branch(["b", "c", "d"])))
        #expect(EquivocationProof(proof.encoded, Fixture.seals(5)) == proof)
        #expect(proof.origin == Fixture.origin(1) && proof.before == 2)
    }

    @Test("One stream is none, also where one batch reaches further")
    func innocent() {
        #expect(Self.proof(Self.branch(["a"]), Self.branch(["a"])) == nil)
        #expect(Self.proof(Self.branch(["a"]), Self.branch(["a", "b"])) == nil)
    }

    @Test("A stream that its author has not signed proves nothing")
    func forged() {
        var forged = Self.branch(["b"])
        forged.seal.signature = Self.branch(["c"]).seal.signature
        #expect(Self.proof(Self.branch(["a"]), forged) == nil)
        var damaged = Self.branch(["b"])
        damaged.seal.signature[5] ^= 1
        #expect(Self.proof(Self.branch(["a"]), damaged) == nil)
        #expect(EquivocationProof(after: 2, .empty, Self.branch(["a"]), Self.branch(["b"]), Fixture.seals(2)) == nil)
    }

    @Test("Damaged proofs are none, and nothing traps", arguments: 0..<20 as Range<UInt64>)
    func damaged(seed: UInt64) throws {
        var random = Seeded(seed)
        let proof = try #require(Self.proof(Self.branch(["a"]), Self.branch(["b", "c"])))
        damage(proof.encoded, &random) { bytes in
            let read = EquivocationProof(bytes, Fixture.seals(5))
            #expect(read == nil || bytes == proof.encoded)
        }
    }

    @Test("A member that writes a false proof convicts nobody")
    func slander() throws {
        var world = ReplicationWorld(2)
        world.linkAll()
        let draft = OperationLog.Draft(
            kind: .equivocation, stream: EquivocationProof.stream, body: [UInt8](repeating: 1, count: 300))
        let (_, effects) = try world.machines[0].propose([draft], now: world.now, wallClock: world.wall)
        world.perform(effects, 0)
        world.settle()
        #expect(world.isEqual() && world.machines[1].proofs.isEmpty && world.machines[1].log.frozen.isEmpty)
    }
}
