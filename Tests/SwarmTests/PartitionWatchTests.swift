import Core
import Testing

@testable import Swarm

@Suite struct PartitionWatchTests {
    private static func node(_ number: UInt64) -> NodeID { NodeID(Bytes16(high: 1, low: number)) }
    private static func run(_ number: UInt64) -> InstanceID { InstanceID(Bytes16(high: 2, low: number)) }
    private let a = Self.node(1)
    private let b = Self.node(2)

    @Test func `A partition lasts from the first doubt to equal copies`() {
        var watch = PartitionWatch()
        watch.changed(a, Self.run(1), to: .suspect, at: .seconds(10))
        watch.changed(b, Self.run(2), to: .suspect, at: .seconds(11))
        watch.changed(a, Self.run(1), to: .dead, at: .seconds(14))
        watch.changed(b, Self.run(2), to: .dead, at: .seconds(15))
        #expect(!watch.isHealing && watch.compared(equal: [a, b], at: .seconds(16)) == nil)
        watch.changed(a, Self.run(1), to: .alive, at: .seconds(20))
        watch.changed(b, Self.run(2), to: .alive, at: .seconds(20))
        #expect(watch.isHealing)
        #expect(watch.compared(equal: [a], at: .seconds(21)) == nil)
        #expect(watch.compared(equal: [a, b], at: .seconds(22)) == .seconds(12))
        #expect(!watch.isHealing && watch.compared(equal: [a, b], at: .seconds(23)) == nil)
    }

    @Test func `Who stays away does not hold up the end of it`() {
        var watch = PartitionWatch()
        for node in [a, b] { watch.changed(node, Self.run(1), to: .dead, at: .seconds(1)) }
        watch.changed(a, Self.run(1), to: .alive, at: .seconds(5))
        #expect(watch.compared(equal: [a], at: .seconds(6)) == .seconds(5))
        watch.changed(b, Self.run(1), to: .alive, at: .seconds(9))
        #expect(watch.compared(equal: [a, b], at: .seconds(10)) == .seconds(9))
    }

    @Test(
        "What was no partition is not counted",
        arguments: [
            [(.suspect, 1), (.alive, 1)], [(.dead, 1), (.alive, 2)], [(.dead, 1), (.left, 1), (.alive, 1)],
            [(.left, 1), (.alive, 1)], [(.dead, 1), (.alive, 1), (.suspect, 1)],
        ] as [[(Member.State, UInt64)]])
    func noPartition(_ changes: [(Member.State, UInt64)]) {
        var watch = PartitionWatch()
        for (state, run) in changes { watch.changed(a, Self.run(run), to: state, at: .seconds(1)) }
        #expect(!watch.isHealing && watch.compared(equal: [a], at: .seconds(2)) == nil)
    }
}
