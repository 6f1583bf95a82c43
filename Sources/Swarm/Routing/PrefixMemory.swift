/// Which beginnings of prompts each of a number of hosts has read lately, by what was sent there: the oldest are
/// forgotten first, as the hosts' engines do.
struct PrefixMemory: Sendable {
    /// Beginnings that are remembered of one host.
    static let beginnings = 4_096

    private var clock: UInt64 = 0
    private var used: [UInt64: UInt64] = [:]

    /// Tokens of `prefix` that need not be read again.
    func tokens(of prefix: PromptPrefix) -> Int {
        prefix.beginnings.last { used[$0.hash] != nil }?.tokens ?? 0
    }

    mutating func note(_ prefix: PromptPrefix) {
        clock += 1
        for beginning in prefix.beginnings.suffix(Self.beginnings) { used[beginning.hash] = clock }
        guard used.count > 2 * Self.beginnings else { return }
        // Seldom, and of a bounded number.
        let oldest = used.values.sorted(by: >)[Self.beginnings - 1]
        used = used.filter { $0.value >= oldest }
    }
}
