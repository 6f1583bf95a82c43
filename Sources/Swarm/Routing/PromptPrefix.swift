package import Core

/// The beginnings of a prompt, one for each of its messages: what a host has read of one need not be read again. Two
/// prompts have a beginning in common where they have its hash in common, on every host.
package struct PromptPrefix: Hashable, Sendable {
    package struct Beginning: Hashable, Sendable {
        package var hash: UInt64
        /// Tokens up to here.
        package var tokens: Int
    }

    /// The shortest first.
    package private(set) var beginnings: [Beginning] = []
    private var state = StableHash()

    package init() {}

    package init(_ messages: [Message], cost: TokenCost) {
        for message in messages { append(message, tokens: cost.tokens(of: message)) }
    }

    package mutating func append(_ message: Message, tokens: Int) {
        state.combine(Array(message.role.rawValue.utf8))
        state.combine(Array(message.text.utf8))
        for call in message.toolCalls { state.combine(Array(call.name.utf8) + [0] + Array(call.arguments.utf8)) }
        let (sum, overflow) = (beginnings.last?.tokens ?? 0).addingReportingOverflow(tokens)
        beginnings.append(Beginning(hash: state.value, tokens: overflow ? .max : sum))
    }

    package var tokens: Int { beginnings.last?.tokens ?? 0 }
}

/// FNV-1a (Fowler, Noll, Vo) with a final mix: not secret, the same on every host and in every run.
package struct StableHash: Hashable, Sendable {
    private var state: UInt64 = 0xCBF2_9CE4_8422_2325

    package init() {}

    package mutating func combine(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
        // No byte ends a text in UTF-8, so that "ab", "c" is not "a", "bc".
        state = (state ^ 0xFF) &* 0x100_0000_01B3
    }

    package var value: UInt64 {
        var mixed = state
        mixed = (mixed ^ (mixed >> 33)) &* 0xFF51_AFD7_ED55_8CCD
        mixed = (mixed ^ (mixed >> 33)) &* 0xC4CE_B9FE_1A85_EC53
        return mixed ^ (mixed >> 33)
    }
}
