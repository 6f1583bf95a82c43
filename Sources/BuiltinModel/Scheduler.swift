import Core

/// Shares one model between several answers: one token of one answer, or ``ForwardPass/pieceTokens`` of a prompt (about
/// 2 ms of igris-recall), in turn, so that a long or slow answer holds up nobody. Reads no clock and waits for nothing; its caller does.
final class Scheduler {
    /// Bytes of keys and values that idle slots keep for the next turn of their conversation.
    static let retainedBytes = 12 * 1024 * 1024
    /// Below this, copying a prefix from another slot is not worth its memory.
    static let worthCopying = 16

    let model: LlamaModel
    let slots: [Slot]
    private let pass: ForwardPass
    private let interval: Duration?
    private let entropy: () -> UInt64
    private var waiting: [GenerationOrder] = []
    private var cursor = 0
    private var uses = 0

    enum Event: Equatable {
        case text(id: String, String)
        case done(id: String, Ending, TokenUsage)
    }

    enum Ending: String {
        case stop
        case length
        case cancelled
    }

    enum Wake: Equatable {
        case now
        case at(Duration)
        case never
    }

    /// `pace` is in tokens a second for each answer. `entropy` seeds answers that name no seed.
    init(_ model: LlamaModel, slots count: Int, pace: Double?, entropy: @escaping () -> UInt64) throws(RuntimeError) {
        self.model = model
        pass = ForwardPass(model)
        var slots: [Slot] = []
        for _ in 0..<count { slots.append(try Slot(model.shape)) }
        self.slots = slots
        interval = pace.map { .seconds(1 / $0) }
        self.entropy = entropy
    }

    /// Answers waiting for a slot.
    var waitingCount: Int { waiting.count }

    func knows(_ id: String) -> Bool {
        waiting.contains { $0.id == id } || slots.contains { $0.work?.order.id == id }
    }

    /// Begins an answer, at once or when a slot is free. The prompt leaves room for at least one token.
    func submit(_ order: GenerationOrder) {
        precondition(!order.prompt.isEmpty && order.prompt.count < model.shape.contextLength, "checked by the session")
        waiting.append(order)
        startWaiting()
    }

    /// Ends an answer before its next token; none for an unknown one, which may just have ended.
    func cancel(_ id: String) -> [Event] {
        if let index = waiting.firstIndex(where: { $0.id == id }) {
            let order = waiting.remove(at: index)
            return [.done(id: id, .cancelled, TokenUsage(promptTokens: order.promptTokens, completionTokens: order.written))]
        }
        guard let slot = slots.first(where: { $0.work?.order.id == id }), let work = slot.work else { return [] }
        return [end(slot, work, .cancelled)]
    }

    func cancelAll() -> [Event] {
        let ids = waiting.map(\.id) + slots.compactMap { $0.work?.order.id }
        return ids.flatMap(cancel)
    }

    /// When there is something to do.
    func wake(at now: Duration) -> Wake {
        var earliest: Duration?
        for case let work? in slots.lazy.map(\.work) {
            guard let due = work.due, due > now else { return .now }
            earliest = min(earliest ?? due, due)
        }
        return earliest.map(Wake.at) ?? .never
    }

    /// Does one piece of one answer, the next in turn that has something to do.
    func advance(at now: Duration) -> [Event] {
        for step in 0..<slots.count {
            let index = (cursor + step) % slots.count
            guard let work = slots[index].work, work.due.map({ $0 <= now }) ?? true else { continue }
            cursor = (index + 1) % slots.count
            return advance(slots[index], work, at: now)
        }
        return []
    }

    // MARK: One answer

    private func advance(_ slot: Slot, _ work: Work, at now: Duration) -> [Event] {
        let prompt = work.order.prompt
        if let token = work.next {
            slot.read([token], by: pass, wantsLogits: true)
        } else {
            let end = min(slot.tokens.count + ForwardPass.pieceTokens, prompt.count)
            slot.read(prompt[slot.tokens.count..<end], by: pass, wantsLogits: end == prompt.count)
            if end < prompt.count { return [] }
        }
        return choose(slot, work, at: now)
    }

    /// The logits are those of this answer: takes its next token from them.
    private func choose(_ slot: Slot, _ before: Work, at now: Duration) -> [Event] {
        var work = before
        let token = work.sampler.next(pass.logits)
        work.generated += 1
        var text = ""
        var ending: Ending?
        if model.vocabulary.ends(token) {
            ending = .stop
        } else {
            if let byte = model.vocabulary.byte(of: token) { text = work.text.append(byte) }
            if work.text.isStopped {
                ending = .stop
            } else if work.generated == work.order.maximumTokens
                || work.order.promptTokens + work.generated == model.shape.contextLength
            {
                ending = .length
            }
        }
        if ending != nil { text += work.text.finish() }
        var events: [Event] = text.isEmpty ? [] : [.text(id: work.order.id, text)]
        if let ending {
            events.append(end(slot, work, ending))
        } else {
            work.next = token
            work.due = interval.map { (work.due ?? now) + $0 } ?? now
            slot.work = work
        }
        return events
    }

    private func end(_ slot: Slot, _ work: Work, _ ending: Ending) -> Event {
        slot.work = nil
        uses += 1
        slot.lastUsed = uses
        trim()
        startWaiting()
        var usage = TokenUsage(
            promptTokens: work.order.promptTokens, completionTokens: work.generated,
            cachedTokens: min(work.cached, work.order.promptTokens))
        usage.stop = work.text.stop
        return .done(id: work.order.id, ending, usage)
    }

    private typealias Work = Slot.Work

    // MARK: Slots

    private func startWaiting() {
        while !waiting.isEmpty, let (slot, cached) = place(for: waiting[0].prompt) {
            let order = waiting.removeFirst()
            var sampler = Sampler(order.sampling, entropy: entropy())
            sampler.resume(after: order.prompt.suffix(order.written))
            slot.work = Work(
                order: order, cached: cached, sampler: sampler, text: AnswerText(stop: order.stop),
                generated: order.written)
        }
    }

    /// The free slot that goes on where it was, if most of what it holds is the start of `prompt`; else the one that
    /// was used least recently, with the longest known start copied into it. Nil while all are busy.
    private func place(for prompt: [Int]) -> (Slot, cached: Int)? {
        guard let oldest = slots.filter({ $0.work == nil }).min(by: { $0.lastUsed < $1.lastUsed }) else { return nil }
        var donor = oldest
        var common = oldest.commonPrefix(with: prompt)
        for slot in slots where slot !== oldest {
            let length = slot.commonPrefix(with: prompt)
            if length > common { (donor, common) = (slot, length) }
        }
        if donor.work == nil, donor === oldest || 2 * common >= donor.tokens.count {
            donor.truncate(to: common)
            return (donor, common)
        }
        if common < Self.worthCopying { common = 0 }
        oldest.copy(common, of: donor)
        return (oldest, common)
    }

    /// Gives back what idle slots hold beyond ``retainedBytes``, the least recently used first.
    private func trim() {
        var total = 0
        for slot in slots.filter({ $0.work == nil }).sorted(by: { $0.lastUsed > $1.lastUsed }) {
            total += slot.cache.byteCount
            if total > Self.retainedBytes, slot.lastUsed != uses { slot.release() }
        }
    }
}
