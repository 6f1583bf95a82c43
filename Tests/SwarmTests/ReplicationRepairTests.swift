import Core
import Swarm
import Testing

/// What is damaged in one host's store is asked for from those who have it.
@Suite struct ReplicationRepairTests {
    private static let origin = ReplicationWorld.origin(0)

    /// Three linked hosts with ten operations of the first.
    private static func world() throws -> ReplicationWorld {
        var world = ReplicationWorld(3)
        world.linkAll()
        for index in 0..<10 { try world.write(0, "\(index)") }
        world.wait(.seconds(2))
        #expect(world.isEqual())
        return world
    }

    @Test("A copy comes from the place that was asked for, sealed, and changes nothing else")
    func copy() throws {
        var world = try Self.world()
        let before = world.machines.map(\.tally.received)
        world.step(.damaged(Self.origin, after: 3, except: []), 1)
        world.settle()
        #expect(world.repairs.map(\.host) == [1])
        #expect(world.repairs.map(\.from) == [0], "its author has it for certain")
        let batch = try #require(world.repairs.first?.batch)
        #expect(batch.operations.map(\.dot.sequence).first == 4)
        #expect(
            batch.operations == Array((world.disks[0].operations[Self.origin] ?? [])[3..<batch.operations.count + 3]))
        #expect(world.machines.map(\.tally.received) == before, "it is not taken for news")
        world.wait(.seconds(3))
        #expect(world.repairs.count == 1)
    }

    @Test("An own operation comes back from a peer; who gave a wrong copy, or has none, is not asked again at once")
    func others() throws {
        var world = try Self.world()
        world.step(.damaged(Self.origin, after: 0, except: [ReplicationWorld.node(1)]), 0)
        world.settle()
        #expect(world.repairs.map(\.from) == [2])
        // The other two lost it as well.
        for host in [1, 2] { world.disks[host].seals[Self.origin] = [] }
        world.step(.damaged(Self.origin, after: 0, except: []), 0)
        world.wait(.milliseconds(500))
        #expect(world.repairs.count == 1)
        world.disks[1].seals[Self.origin] = world.disks[0].seals[Self.origin]
        world.wait(.seconds(3))
        #expect(world.repairs.map(\.from) == [2, 1])
    }

    @Test("Without a peer it waits for one")
    func alone() throws {
        var world = try Self.world()
        world.unlink(0, 1)
        world.unlink(1, 2)
        world.step(.damaged(Self.origin, after: 9, except: []), 1)
        world.wait(.seconds(5))
        #expect(world.repairs.isEmpty)
        world.link(1, 2)
        world.wait(.seconds(3))
        #expect(world.repairs.map(\.from) == [2])
        #expect(world.repairs.first?.batch.operations.map(\.dot.sequence) == [10])
    }
}
