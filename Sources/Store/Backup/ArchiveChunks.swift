package import Core
package import Cryptography

/// An archive's records, cut into chunks of one size and sealed each:
///
///     number u32 | nonce 12 | ciphertext | tag 16
///
/// This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015, "Online Authenticated-Encryption and its
/// Nonce-Reuse Misuse-Resistance", §7): each chunk authenticates its number and whether it is the last one, so that
/// none can be changed, swapped, left out or added. Two deviations: number and flag stand in the associated data (with
/// the head's hash) instead of in the nonce, which is random; and the number stands before the chunk once more, so that
/// a reader can say what is wrong. Each archive has a key of its own.
enum ArchiveChunk {
    static let contentBytes = 256 * 1024
    static let overhead = 4 + AESGCM.overhead
    static let bytes = contentBytes + overhead

    static func associatedData(_ digest: [UInt8], _ number: UInt32, isLast: Bool) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(raw: digest)
        writer.put(bigEndian: number)
        writer.put(isLast ? 1 : 0)
        return writer.bytes
    }
}

/// Seals records as they come. What it holds back is at most a chunk and a record.
package struct ArchiveSealer: Sendable {
    private let key: SymmetricKey
    private let digest: [UInt8]
    private var number: UInt32 = 0
    private var pending: [UInt8] = []

    package init(_ header: ArchiveHeader, key: SymmetricKey) {
        self.key = key
        digest = header.digest
    }

    package mutating func put(_ record: ArchiveRecord) {
        var writer = ByteWriter()
        record.encode(into: &writer)
        pending += writer.bytes
    }

    /// The chunks that are full. One is always kept back: the last one is sealed as such.
    package mutating func sealed() throws(RuntimeError) -> [UInt8] {
        var output: [UInt8] = []
        var start = 0
        while pending.count - start > ArchiveChunk.contentBytes {
            output += try seal(Array(pending[start..<start + ArchiveChunk.contentBytes]), isLast: false)
            start += ArchiveChunk.contentBytes
        }
        pending.removeFirst(start)
        return output
    }

    /// All that is left, once after the last record.
    package mutating func finish() throws(RuntimeError) -> [UInt8] {
        let output = try sealed()
        defer { pending = [] }
        return output + (try seal(pending, isLast: true))
    }

    private mutating func seal(_ content: [UInt8], isLast: Bool) throws(RuntimeError) -> [UInt8] {
        guard number < .max else { throw RuntimeError(.tooLarge, "the backup has too many chunks") }
        var writer = ByteWriter()
        writer.reserve(content.count + ArchiveChunk.overhead)
        writer.put(bigEndian: number)
        do {
            let aad = ArchiveChunk.associatedData(digest, number, isLast: isLast)
            writer.put(raw: try AESGCM.seal(content, key: key, aad: aad))
        } catch {
            throw RuntimeError(.internal, "a chunk of the backup could not be sealed", cause: error)
        }
        number += 1
        return writer.bytes
    }
}

/// Opens an archive chunk by chunk. It holds two chunks and one record.
package struct ArchiveReader {
    /// Gives so many bytes of the file, fewer only at its end.
    package typealias Source = (_ count: Int) throws(RuntimeError) -> [UInt8]

    private let source: Source
    private let key: SymmetricKey
    private let digest: [UInt8]
    private var number: UInt32 = 0
    /// The next chunk as it is on disk; empty at the end.
    private var ahead: [UInt8]
    private var content: [UInt8] = []
    private var position = 0

    /// - Parameter source: stands behind the head.
    package init(_ header: ArchiveHeader, key: SymmetricKey, source: @escaping Source) throws(RuntimeError) {
        self.source = source
        self.key = key
        digest = header.digest
        ahead = try source(ArchiveChunk.bytes)
        guard !ahead.isEmpty else { throw RuntimeError(.corrupt, "the backup is cut off after its head") }
    }

    /// Nil at the end of the last chunk.
    package mutating func next() throws(RuntimeError) -> ArchiveRecord? {
        guard let type = try byte() else { return nil }
        var length: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            guard let next = try byte() else { throw Self.early }
            length |= UInt64(next & 0x7F) << shift
            guard next >= 0x80 else { break }
            shift += 7
            guard shift <= 28 else { throw RuntimeError(.corrupt, "a row of the backup is longer than any can be") }
        }
        guard length <= UInt64(ArchiveRecord.contentBytes) else {
            throw RuntimeError(.corrupt, "a row of the backup is longer than any can be")
        }
        var bytes: [UInt8] = []
        while bytes.count < Int(length) {
            guard try refill() else { throw Self.early }
            let count = min(Int(length) - bytes.count, content.count - position)
            bytes += content[position..<position + count]
            position += count
        }
        return try ArchiveRecord(type: type, content: bytes)
    }

    private mutating func byte() throws(RuntimeError) -> UInt8? {
        guard try refill() else { return nil }
        defer { position += 1 }
        return content[position]
    }

    /// Whether there is a byte to read.
    private mutating func refill() throws(RuntimeError) -> Bool {
        while position == content.count {
            guard !ahead.isEmpty else { return false }
            let present = ahead
            ahead = present.count == ArchiveChunk.bytes ? try source(ArchiveChunk.bytes) : []
            content = try open(present)
            position = 0
            number += 1
        }
        return true
    }

    private func open(_ chunk: [UInt8]) throws(RuntimeError) -> [UInt8] {
        guard chunk.count >= ArchiveChunk.overhead else { throw Self.cutOff(number) }
        var reader = ByteReader(chunk)
        let found = try reader.bigEndian32()
        let sealed = reader.rest()
        let isLast = ahead.isEmpty
        if found == number, let content = opened(sealed, isLast: isLast) { return content }
        if found == number, opened(sealed, isLast: !isLast) != nil {
            throw isLast ? Self.cutOff(number + 1) : RuntimeError(.corrupt, "bytes follow the backup's end")
        }
        if found != number, opened(sealed, as: found, isLast: false) ?? opened(sealed, as: found, isLast: true) != nil {
            throw RuntimeError(
                .corrupt, "the backup's chunks were swapped: chunk \(found) stands where chunk \(number) belongs")
        }
        if isLast, chunk.count < ArchiveChunk.bytes {
            throw RuntimeError(.corrupt, "the backup is cut off in its chunk \(number), or that was damaged or changed")
        }
        throw RuntimeError(.corrupt, "chunk \(number) of the backup was damaged or changed")
    }

    private func opened(_ sealed: [UInt8], as number: UInt32? = nil, isLast: Bool) -> [UInt8]? {
        // That it does not open is all there is to know.
        try? AESGCM.open(
            sealed, key: key, aad: ArchiveChunk.associatedData(digest, number ?? self.number, isLast: isLast))
    }

    private static func cutOff(_ number: UInt32) -> RuntimeError {
        RuntimeError(.corrupt, "the backup is cut off: its chunk \(number) and what follows are missing")
    }

    private static var early: RuntimeError { RuntimeError(.corrupt, "the backup ends within a row") }
}
