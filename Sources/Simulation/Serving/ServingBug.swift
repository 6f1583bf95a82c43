/// Mistakes that can be planted in the shell of a ``ServingWorld``, to see that it finds them.
package enum ServingBug: String, Hashable, Sendable, CaseIterable {
    /// Who stands by does nothing when it should take an answer up.
    case forgottenStandby = "forgotten-standby"
    /// An engine that should go on behind a beginning begins again.
    case begunAgain = "begun-again"
    /// Nobody tells the answers of a link that it is over.
    case unheardEnd = "unheard-end"
    /// A queue is told that its engine takes one at a time.
    case unusedSlots = "unused-slots"
    /// Requests go to hosts whatever their breakers say.
    case deafBreaker = "deaf-breaker"
    /// A quarter of what those who stand by are told of an answer never reaches them.
    case droppedNews = "dropped-news"
}
