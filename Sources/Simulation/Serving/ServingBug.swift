/// Mistakes that can be planted in the shell of a ``ServingWorld``, to see that it finds them.
package enum ServingBug: String, Hashable, Sendable, CaseIterable {
    /// Who stands by does nothing when it should take an answer up.
    case forgottenStandby = "forgotten-standby"
    /// An engine that should go on behind a beginning begins again.
    case begunAgain = "begun-again"
    /// Nobody tells the answers of a link that it is over.
    case unheardEnd = "unheard-end"
    /// A queue is not told how many its engine takes at once.
    case unusedSlots = "unused-slots"
    /// Requests go to hosts whatever their breakers say.
    case deafBreaker = "deaf-breaker"
    /// What comes of an answer is told without what was cut.
    case droppedNews = "dropped-news"
}
