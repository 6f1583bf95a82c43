import Core

/// Unpacks the body of a request. A body may grow tenfold, and never past what its path takes (hardening.md §3).
struct BodyDecoder {
    /// What a request's `content-encoding` may name; nil for an encoding that is not known, or whose library this
    /// machine lacks.
    private enum Coding {
        case gzip(ZlibLibrary)
        case zstd(ZstdLibrary)
    }

    /// So much a body may grow to, however small it was.
    private static let leastBound = 64 * 1024
    private static let growth = 10

    private let coding: Coding?

    /// Throws ``APIError`` 415 for an encoding that is not taken here.
    init(_ name: String?) throws(APIError) {
        switch name?.lowercased() {
        case nil, "identity": coding = nil
        case "gzip", "x-gzip":
            guard let library = ZlibLibrary.shared else { throw Self.refusal("gzip needs libz.so.1 on this host") }
            coding = .gzip(library)
        case "zstd":
            guard let library = ZstdLibrary.shared else { throw Self.refusal("zstd needs libzstd.so.1 on this host") }
            coding = .zstd(library)
        default: throw Self.refusal("bodies may be packed with gzip or zstd, nothing else")
        }
    }

    private static func refusal(_ reason: String) -> APIError {
        APIError(415, code: "unsupported_content_encoding", "\(reason); send the body as it is")
    }

    /// The body as it was. Throws ``RuntimeError`` `.tooLarge` past the bounds, `.invalidRequest` for one that is
    /// broken, cut off, or followed by something else.
    func decode(_ bytes: [UInt8], limit: Int) throws(RuntimeError) -> [UInt8] {
        let bound = min(
            limit, max(Self.leastBound, bytes.count.multipliedReportingOverflow(by: Self.growth).partialValue))
        let unpacked: [UInt8]?
        switch coding {
        case nil: return bytes
        case .gzip(let library): unpacked = try library.unpack(bytes, atMost: bound)
        case .zstd(let library): unpacked = try library.unpack(bytes, atMost: bound)
        }
        guard let unpacked else {
            throw RuntimeError(.invalidRequest, "the packed body is broken, or ends before its end")
        }
        return unpacked
    }

    static func tooLarge(_ bound: Int) -> RuntimeError {
        RuntimeError(
            .tooLarge,
            "the packed body holds more than \(bound) bytes: a body may grow tenfold, up to what its path takes")
    }
}

/// Collects what a library unpacks, piece by piece, within a bound.
struct UnpackedBytes {
    private static let piece = 64 * 1024

    private(set) var bytes: [UInt8] = []
    private let bound: Int
    private var buffer = [UInt8](repeating: 0, count: piece)

    init(atMost bound: Int) { self.bound = bound }

    /// Calls `body` with room for the next piece; it returns how much of that it filled.
    mutating func add(_ body: (UnsafeMutableBufferPointer<UInt8>) -> Int) throws(RuntimeError) -> Int {
        let count = min(max(0, buffer.withUnsafeMutableBufferPointer { body($0) }), buffer.count)
        guard count <= bound - bytes.count else { throw BodyDecoder.tooLarge(bound) }
        bytes.append(contentsOf: buffer[..<count])
        return count
    }
}
