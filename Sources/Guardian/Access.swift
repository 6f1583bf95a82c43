/// Who may use a route.
package enum Access: Hashable, Sendable {
    /// Whoever reaches this host: what makes somebody known.
    case anyone
    /// Everyone who is let in at all.
    case known
    /// Who may talk with models, and with that have conversations.
    case chat
    /// Who may look at this host and the swarm.
    case read
    /// Who may change the swarm, this host's models, and who may use them.
    case admin
    /// A host of this swarm, proven by its certificate; no key and no token opens these.
    case peer
}

/// What a client may do.
package struct Scopes: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let chat = Scopes(rawValue: 1)
    package static let read = Scopes(rawValue: 2)
    /// Includes the others: who can make tokens can make one for anything.
    package static let admin = Scopes(rawValue: 4)

    package static let all: Scopes = [.chat, .read, .admin]

    private static let words: [(word: String, scope: Scopes)] = [("chat", .chat), ("read", .read), ("admin", .admin)]

    /// Nil for a word that is none of them.
    package init?(word: some StringProtocol) {
        guard let scope = Self.words.first(where: { $0.word == word })?.scope else { return nil }
        self = scope
    }

    package var names: [String] { Self.words.filter { contains($0.scope) }.map(\.word) }

    package func allow(_ access: Access) -> Bool {
        switch access {
        case .anyone: true
        case .known: !intersection(.all).isEmpty
        case .chat: !isDisjoint(with: [.chat, .admin])
        case .read: !isDisjoint(with: [.read, .admin])
        case .admin: contains(.admin)
        case .peer: false
        }
    }
}
