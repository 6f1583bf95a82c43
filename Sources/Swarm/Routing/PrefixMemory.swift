/// Which beginnings of prompts each of a number of hosts has read lately, by what was sent there: the oldest are
/// forgotten first, as the hosts' engines do.
struct PrefixMemory: Sendable {
    /// Beginnings that are remembered of one host.
    static let beginnings = 4_096

    private var clock: UInt64 = 0
    private var used: [UInt64: UInt64] = [:]

    /// Tokens of `prefix` that need not be read again. Whoever has read a beginning has read the shorter ones, and
    /// forgets them later: a few looks find the longest, and one where nothing is known.
    func tokens(of prefix: PromptPrefix) -> Int {
        var known = 0..<prefix.beginnings.count
        var tokens = 0
        var look = known.lowerBound
        while known.contains(look) {
            if remembers(prefix.beginnings[look]) {
                tokens = prefix.beginnings[look].tokens
                known = look + 1..<known.upperBound
            } else {
                known = known.lowerBound..<look
            }
            look = known.lowerBound + known.count / 2
        }
        return tokens
    }

    func remembers(_ beginning: PromptPrefix.Beginning) -> Bool { used[beginning.hash] != nil }

    mutating func note(_ prefix: PromptPrefix) {
        clock += 1
        for beginning in prefix.beginnings.prefix(Self.beginnings) { used[beginning.hash] = clock }
        guard used.count > 2 * Self.beginnings else { return }
        // Seldom, and of a bounded number.
        let oldest = used.values.sorted(by: >)[Self.beginnings - 1]
        used = used.filter { $0.value >= oldest }
    }
}
