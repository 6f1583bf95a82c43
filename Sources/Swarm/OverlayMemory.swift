internal import Core

/// What was broadcast lately: the ids, to know duplicates, and the content, for those who ask for it again.
struct OverlayMemory: Sendable {
    struct Message: Sendable {
        var payload: [UInt8]
        var hops: Int
        /// Who brought it; nil once a shorter way was asked for, so that each message changes the tree once.
        var source: NodeID?
    }

    static let bytes = 32 * 1024 * 1024
    static let messages = 4_096
    static let ids = 16_384

    private var cache: [Bytes16: Message] = [:]
    private var cached: [Bytes16] = []
    private var size = 0
    private var known: Set<Bytes16> = []
    private var order: [Bytes16] = []

    func knows(_ id: Bytes16) -> Bool { known.contains(id) }
    subscript(id: Bytes16) -> Message? { cache[id] }

    mutating func forgetSource(of id: Bytes16) { cache[id]?.source = nil }

    /// - Returns: false for one that is known, which is not kept again.
    mutating func keep(_ id: Bytes16, _ message: Message) -> Bool {
        guard known.insert(id).inserted else { return false }
        order.append(id)
        if order.count >= 2 * Self.ids {
            for old in order.prefix(Self.ids) { known.remove(old) }
            order.removeFirst(Self.ids)
        }
        cache[id] = message
        cached.append(id)
        size += message.payload.count
        while size > Self.bytes || cached.count > Self.messages {
            // The oldest half at once: removing the first of an array one by one would cost its length each time.
            let old = cached.prefix(max(1, cached.count / 2))
            for id in old { size -= cache.removeValue(forKey: id)?.payload.count ?? 0 }
            cached.removeFirst(old.count)
        }
        return true
    }
}
