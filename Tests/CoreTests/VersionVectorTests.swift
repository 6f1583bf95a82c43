import Core
import Testing

@Suite struct VersionVectorTests {
    private func origin(_ number: UInt64) -> Origin { Origin(node: NodeID(Bytes16(high: 0, low: number)), epoch: 1) }

    @Test("Contains exactly the dots up to each head")
    func contains() {
        var vector = VersionVector()
        #expect(vector.isEmpty)
        #expect(!vector.contains(Dot(origin: origin(1), sequence: 1)))
        vector[origin(1)] = 3
        #expect(vector.contains(Dot(origin: origin(1), sequence: 3)))
        #expect(!vector.contains(Dot(origin: origin(1), sequence: 4)))
        #expect(!vector.contains(Dot(origin: origin(2), sequence: 1)))
    }

    @Test("Merging gives the least vector that covers both")
    func merge() {
        var left = VersionVector()
        left[origin(1)] = 3
        left[origin(2)] = 1
        var right = VersionVector()
        right[origin(2)] = 5
        right[origin(3)] = 2
        #expect(!left.covers(right))
        #expect(!right.covers(left))
        var both = left
        both.merge(right)
        #expect(both.covers(left))
        #expect(both.covers(right))
        #expect(both.entries.map(\.sequence) == [3, 5, 2])
        var other = right
        other.merge(left)
        #expect(other == both)
    }

    @Test("An origin at zero is the same as none")
    func zero() {
        var vector = VersionVector()
        vector[origin(1)] = 1
        vector[origin(1)] = 0
        #expect(vector == VersionVector())
    }

    @Test("Entries ascend by origin")
    func order() {
        var vector = VersionVector()
        for number in [9, 2, 7, 1] as [UInt64] { vector[origin(number)] = number }
        #expect(vector.entries.map(\.sequence) == [1, 2, 7, 9])
    }
}
