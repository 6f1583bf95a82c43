import Core

/// Which conversation each slot of a llama-server read last. A hint only: a conversation whose slot is idle is sent
/// there; any other request that finds no unused slot, or whose conversation is still being answered, is left to the
/// server, which looks for the longest common beginning and keeps what it displaces in its own cache. A pure value.
struct SlotTable: Sendable {
    private struct Slot {
        var conversation: Bytes16?
        var request: RequestID?
        var isUnused = true
    }

    private var slots: [Slot]

    init(count: Int) { slots = Array(repeating: Slot(), count: max(0, count)) }

    /// The slot for a request, nil for the server's choice.
    mutating func assign(_ conversation: Bytes16?, to request: RequestID) -> Int? {
        let own = slots.indices.filter { conversation != nil && slots[$0].conversation == conversation }
        let known = own.first { slots[$0].request == nil }
        // A slot whose answer has just ended may not be told of as idle yet: the server knows, an unused one is cold.
        if let index = known ?? (own.isEmpty ? slots.firstIndex(where: \.isUnused) : nil) {
            slots[index] = Slot(conversation: conversation, request: request, isUnused: false)
            return index
        }
        // One of the idle ones will be taken, and nobody tells which.
        for index in slots.indices where slots[index].request == nil { slots[index].conversation = nil }
        return nil
    }

    mutating func release(_ request: RequestID) {
        for index in slots.indices where slots[index].request == request { slots[index].request = nil }
    }
}
