package import Core

/// The answering side of one link for work: what is being done, and how much of each answer may still be sent. A
/// machine, as ``WorkLedger`` is.
package struct WorkTable: Sendable {
    package enum Action: Hashable, Sendable {
        case send(WorkMessage)
        case begin(UInt64, model: String, Work)
        case cancel(UInt64)
        /// The answer may go on.
        case resume(UInt64)
        /// The answer that this host stands by for has grown.
        case more(UInt64, GenerationEvent)
        /// The other host breaks the rules.
        case condemn(String)
    }

    /// What may still be sent of each.
    private var rooms: [UInt64: Int] = [:]
    private var last: UInt64 = 0

    package init() {}

    package mutating func received(_ message: WorkMessage) -> [Action] {
        switch message {
        case .ask(let id, let model, let work):
            guard id > last else { return [.condemn("it gave one number to two requests")] }
            last = id
            guard rooms.count < Limits.workPerLink else {
                let full = RuntimeError(.overloaded, "this host does too much for others; try again later")
                return [.send(.failed(id, WorkFailure(full)))]
            }
            rooms[id] = Limits.workWindowBytes
            return [.begin(id, model: model, work)]
        case .cancel(let id): return rooms.removeValue(forKey: id) == nil ? [] : [.cancel(id)]
        case .credit(let id, let bytes):
            guard let room = rooms[id] else { return [] }
            let more = min(room + bytes, Limits.workWindowBytes)
            rooms[id] = more
            return room <= 0 && more > 0 ? [.resume(id)] : []
        case .more(let id, let event): return rooms[id] == nil ? [] : [.more(id, event)]
        case .ping: return [.send(.pong)]
        case .pong: return []
        case .event, .result, .failed: return [.condemn("it answers what nobody asked")]
        }
    }

    /// So many bytes of an answer were sent.
    package mutating func sent(_ id: UInt64, _ bytes: Int) {
        guard let room = rooms[id] else { return }
        rooms[id] = room - bytes
    }

    /// Whether the next piece of an answer must wait for ``Action/resume(_:)``.
    package func isFull(_ id: UInt64) -> Bool { rooms[id].map { $0 <= 0 } ?? false }

    /// A request is answered, or has failed.
    package mutating func ended(_ id: UInt64) { rooms[id] = nil }
}
