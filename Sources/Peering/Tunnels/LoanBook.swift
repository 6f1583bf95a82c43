import Core

/// To whom this host's worker is lent: to one program at a time, for its memory is given once. A pure machine.
struct LoanBook: Sendable {
    private struct Loan {
        var id: Bytes16
        var node: NodeID
        /// Nil until the program listens.
        var port: Int?
    }

    private var loan: Loan?

    /// `theirs` is the build of the program that asks, `ours` the worker's. Throws ``RuntimeError``, whose message is
    /// for the other host's operator.
    mutating func lend(
        _ id: Bytes16, to node: NodeID, theirs: String, ours: String
    ) throws(RuntimeError) {
        guard theirs == ours else {
            throw RuntimeError(
                .configuration,
                "its worker is of build \(ours), the llama-server that wants it of build \(theirs); install the same "
                    + "build of llama.cpp on both hosts")
        }
        if let loan {
            let other = loan.node == node ? "another model of the same host" : "host \(loan.node)"
            throw RuntimeError(.unavailable, "its worker computes for \(other) already")
        }
        loan = Loan(id: id, node: node)
    }

    mutating func listens(_ id: Bytes16, at port: Int) {
        if loan?.id == id { loan?.port = port }
    }

    /// Where a connection of that loan goes; nil for any host but the one it was lent to.
    func port(of id: Bytes16, for node: NodeID) -> Int? {
        guard let loan, loan.id == id, loan.node == node else { return nil }
        return loan.port
    }

    mutating func returned(_ id: Bytes16) {
        if loan?.id == id { loan = nil }
    }
}
