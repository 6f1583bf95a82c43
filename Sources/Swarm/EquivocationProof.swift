package import Core
internal import Cryptography

/// Shows to everybody that an author signed two different operations with one dot (swarm.md §2): the chain hash before
/// them, and from there on two ways to a chain hash that the author signed, by the hashes of the operations alone. Both
/// ways begin at the same place, and no two inputs have the same SHA-256: so whoever signed both ends signed both
/// beginnings. What was said is not in it.
///
/// It travels as an operation like any other, of whoever found it, in a stream of its own: so it reaches all hosts, also
/// those that come later, and is kept. Nobody believes an operation that proves nothing.
package struct EquivocationProof: Hashable, Sendable {
    package struct Branch: Hashable, Sendable {
        /// Of the operations from the first that differs up to the sealed one.
        package var hashes: [[UInt8]]
        package var signature: [UInt8]
    }

    /// Where all proofs are.
    package static let stream = StreamID(Bytes16(high: 0x6967_7269_732d_6571, low: 0x7569_766f_6361_7465))
    /// A branch that is longer is not told: no batch is.
    static let longest = 1_024
    /// So many are kept.
    static let limit = 256

    package var origin: Origin
    /// What both branches follow.
    package var before: UInt64
    var chain: ChainHash
    var author: [UInt8]
    var branches: [Branch]

    /// Nil for what proves nothing.
    ///
    /// - Parameter chain: at the place before both.
    init?(
        after before: UInt64, _ chain: ChainHash, _ left: OperationBatch, _ right: OperationBatch, _ scheme: SealScheme
    ) {
        origin = left.origin
        self.before = before
        self.chain = chain
        author = left.seal.author
        branches = [left, right].map { batch in
            let fresh = batch.operations.drop { $0.dot.sequence <= before }
            return Branch(hashes: fresh.map(OperationLog.contentHash), signature: batch.seal.signature)
        }
        guard left.origin == right.origin, isValid(scheme) else { return nil }
    }

    private func isValid(_ scheme: SealScheme) -> Bool {
        guard branches.count == 2, branches[0].hashes.first != branches[1].hashes.first else { return false }
        return branches.allSatisfy { branch in
            guard !branch.hashes.isEmpty, branch.hashes.count <= Self.longest else { return false }
            let end = branch.hashes.reduce(chain) { ChainHash(SHA256.hash($0.bytes + $1)) }
            let seal = BatchSeal(
                origin: origin, sequence: before + UInt64(branch.hashes.count), author: author,
                signature: branch.signature)
            return scheme.vouches(seal, for: end)
        }
    }

    // MARK: - Bytes

    private static let version: UInt8 = 1

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(origin.node.bytes)
        writer.put(bigEndian: origin.epoch)
        writer.put(varint: before)
        writer.put(raw: chain.bytes)
        writer.put(raw: author)
        for branch in branches {
            writer.put(varint: UInt64(branch.hashes.count))
            for hash in branch.hashes { writer.put(raw: hash) }
            writer.put(raw: branch.signature)
        }
        return writer.bytes
    }

    /// Nil for bytes that are no proof, or one that does not hold.
    package init?(_ bytes: [UInt8], _ scheme: SealScheme) {
        // It may be anything: a member wrote it.
        guard let proof = try? Self.decode(bytes), proof.isValid(scheme) else { return nil }
        self = proof
    }

    private init(origin: Origin, before: UInt64, chain: ChainHash, author: [UInt8], branches: [Branch]) {
        self.origin = origin
        self.before = before
        self.chain = chain
        self.author = author
        self.branches = branches
    }

    private static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> EquivocationProof {
        var reader = ByteReader(bytes)
        guard try reader.byte() == version else { throw RuntimeError(.corrupt, "the proof is of another version") }
        let origin = Origin(node: NodeID(try reader.bytes16()), epoch: try reader.bigEndian32())
        let before = try reader.varint()
        guard before < 1 << 62 else { throw RuntimeError(.corrupt, "a sequence is longer than 62 bits") }
        let chain = ChainHash(try reader.raw(SHA256.digestBytes))
        let author = try reader.raw(BatchSeal.authorBytes)
        var branches: [Branch] = []
        for _ in 0..<2 {
            var branch = Branch(hashes: [], signature: [])
            for _ in 0..<(try reader.count(atMost: longest)) {
                branch.hashes.append(try reader.raw(SHA256.digestBytes))
            }
            branch.signature = try reader.raw(BatchSeal.signatureBytes)
            branches.append(branch)
        }
        try reader.expectEnd()
        return EquivocationProof(origin: origin, before: before, chain: chain, author: author, branches: branches)
    }
}
