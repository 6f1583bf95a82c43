import Core
import Glibc

/// The keys and values of the tokens that a slot has read.
///
/// Address space for the model's whole context is reserved at once; the system adds memory page by page as tokens come,
/// and ``release()`` gives it back. So nothing is ever moved, and what is not used costs nothing.
final class KeyValueCache {
    let shape: LlamaShape
    /// Tokens held.
    private(set) var count = 0
    /// The most tokens held since the last ``release()``: what takes up memory.
    private var touched = 0
    private let region: UnsafeMutableRawBufferPointer

    /// - Throws: ``RuntimeError`` `.system` when the system refuses the address space.
    init(_ shape: LlamaShape) throws(RuntimeError) {
        self.shape = shape
        let (size, overflow) = shape.contextLength.multipliedReportingOverflow(by: Self.bytesPerToken(shape))
        guard !overflow,
            let start = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
            start != MAP_FAILED
        else {
            throw RuntimeError(
                .system, "there is no address space for \(shape.contextLength) tokens of context; use fewer slots")
        }
        region = UnsafeMutableRawBufferPointer(start: start, count: size)
    }

    deinit { munmap(region.baseAddress, region.count) }

    /// Bytes of memory in use, but for the ends of pages.
    var byteCount: Int { touched * Self.bytesPerToken(shape) }

    static func bytesPerToken(_ shape: LlamaShape) -> Int {
        2 * shape.layers * shape.keyValueWidth * MemoryLayout<Float>.size
    }

    /// Holds `number` tokens more: call when every layer has written their keys and values.
    func advance(by number: Int) {
        count += number
        touched = max(touched, count)
    }

    /// Rows of `shape.headWidth` numbers, one for each token of the context. A head's rows lie together, because
    /// attention reads one head at a time.
    func keys(of layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
        rows(2 * layer * shape.keyValueHeads + head)
    }

    func values(of layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
        rows((2 * layer + 1) * shape.keyValueHeads + head)
    }

    private func rows(_ index: Int) -> UnsafeMutablePointer<Float> {
        let length = shape.contextLength * shape.headWidth * MemoryLayout<Float>.size
        let part = UnsafeMutableRawBufferPointer(rebasing: region[index * length..<(index + 1) * length])
        // A mapping is aligned to pages, and each part is a whole number of floats. Its base is within the
        // mapping, without which there would be no cache.
        return part.assumingMemoryBound(to: Float.self).baseAddress.unsafelyUnwrapped
    }

    /// Forgets all but the first `length` tokens.
    func truncate(to length: Int) { count = min(count, length) }

    /// Becomes the first `length` tokens of `other`.
    func copy(_ length: Int, of other: KeyValueCache) {
        precondition(length <= other.count, "a prefix is no longer than the whole")
        for index in 0..<2 * shape.layers * shape.keyValueHeads where length > 0 {
            rows(index).update(from: other.rows(index), count: length * shape.headWidth)
        }
        count = length
        touched = max(touched, count)
    }

    /// Forgets everything and gives the memory back.
    func release() {
        madvise(region.baseAddress, region.count, MADV_DONTNEED)
        count = 0
        touched = 0
    }
}
