import Core
import Testing

@testable import Swarm

@Suite struct ReputationTests {
    private static func node(_ number: UInt64) -> NodeID { NodeID(Bytes16(high: 0, low: number)) }

    @Test func `Fifty forged frames exclude, and half an hour lets in again`() throws {
        var reputation = Reputation(at: .zero)
        #expect(reputation.score == 100 && reputation.exclusionLeft == nil)
        for second in 0..<50 { reputation.step(.forged, at: .seconds(second)) }
        #expect(reputation.score <= 5 && reputation.forgeries == 50)
        let left = try #require(reputation.exclusionLeft)
        #expect(left > .seconds(40 * 60) && left <= .seconds(50 * 60))
        reputation.recover(.seconds(49) + left - .seconds(1))
        #expect(reputation.isExcluded)
        reputation.recover(.seconds(49) + left)
        #expect(!reputation.isExcluded && reputation.score == 50)
    }

    @Test func `A forged frame every minute does no lasting harm`() {
        var reputation = Reputation(at: .zero)
        for minute in 0..<30 { reputation.step(.forged, at: .seconds(120 * minute)) }
        #expect(!reputation.isExcluded && reputation.score > 95)
    }

    @Test func `Silence costs less than forgery, answers make up for it slowly`() {
        var reputation = Reputation(at: .zero)
        for _ in 0..<20 { reputation.step(.failed, at: .zero) }
        let low = reputation.score
        #expect(low >= 65 && low < 75 && !reputation.isExcluded)
        reputation.step(.answered(nil), at: .seconds(1))
        #expect(reputation.score - low <= 2)
        for second in 0..<200 { reputation.step(.answered(nil), at: .seconds(second)) }
        #expect(reputation.score == 100)
    }

    @Test func `Of two that are equally good the nearer is better`() {
        var (near, far) = (Reputation(at: .zero), Reputation(at: .zero))
        for _ in 0..<20 {
            near.step(.answered(.milliseconds(1)), at: .zero)
            far.step(.answered(.milliseconds(300)), at: .zero)
        }
        #expect(near.score > far.score && far.score >= 90)
    }

    @Test func `Memory is bounded, and those with something to remember stay`() {
        var book = Reputations()
        for _ in 0..<50 { _ = book.step(Self.node(0), .forged, at: .zero) }
        for number in 1...UInt64(Limits.knownHosts * 2) { _ = book.step(Self.node(number), .answered(nil), at: .zero) }
        #expect(book.isExcluded(Self.node(0)))
        #expect(book[Self.node(UInt64(Limits.knownHosts * 2))]?.score == 100)
    }

    @Test func `Exclusion is told once`() {
        var book = Reputations()
        let told = (0..<60).map { _ in book.step(Self.node(1), .forged, at: .zero) }
        #expect(told.count { $0 } == 1)
        book.recover(.seconds(3_600))
        #expect(!book.isExcluded(Self.node(1)))
    }
}
