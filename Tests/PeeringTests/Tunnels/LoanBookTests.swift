import Core
import Testing

@testable import Peering

@Suite struct LoanBookTests {
    private let one = NodeID(Bytes16(high: 0, low: 1))
    private let other = NodeID(Bytes16(high: 0, low: 2))
    private let first = Bytes16(high: 7, low: 1)
    private let second = Bytes16(high: 7, low: 2)

    @Test("A loan leads its own host to the worker, once that listens, until it is over")
    func life() throws {
        var book = LoanBook()
        try book.lend(first, to: one, theirs: "b1", ours: "b1")
        #expect(book.port(of: first, for: one) == nil)
        book.listens(first, at: 5_000)
        #expect(book.port(of: first, for: one) == 5_000)
        #expect(book.port(of: first, for: other) == nil, "it was lent to another host")
        #expect(book.port(of: second, for: one) == nil)
        book.returned(first)
        #expect(book.port(of: first, for: one) == nil)
        try book.lend(second, to: other, theirs: "b1", ours: "b1")
    }

    @Test("Another build is refused, and both are named")
    func builds() throws {
        var book = LoanBook()
        let error = #expect(throws: RuntimeError.self) {
            try book.lend(first, to: one, theirs: "b11669-Debian", ours: "b9")
        }
        #expect(error?.message.contains("b11669-Debian") == true && error?.message.contains("b9,") == true)
        try book.lend(first, to: one, theirs: "b9", ours: "b9")
    }

    @Test("It is lent once, and the end of an earlier loan is not that of the present one")
    func once() throws {
        var book = LoanBook()
        try book.lend(first, to: one, theirs: "b1", ours: "b1")
        for node in [one, other] {
            let error = #expect(throws: RuntimeError.self) {
                try book.lend(second, to: node, theirs: "b1", ours: "b1")
            }
            #expect(error?.code == .unavailable)
        }
        book.returned(second)
        #expect(throws: RuntimeError.self) { try book.lend(second, to: one, theirs: "b1", ours: "b1") }
    }
}
