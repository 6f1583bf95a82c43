import Core
import Swarm

/// How one answer is told to the other hosts while it is written.
struct AnswerSharing: Sendable {
    let answers: LiveAnswers
    let request: @Sendable (_ question: Dot) -> StandbyRequest

    func begin(_ question: Dot) async -> LiveAnswer { await answers.begin(request(question)) }
}
