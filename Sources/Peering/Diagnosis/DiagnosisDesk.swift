package import Core

/// Joins the doctor with the links: gives questions numbers, hands each answer to who waits for it, and answers the
/// others' questions, a few at a time.
package actor DiagnosisDesk {
    /// Puts a payload on the diagnosis channel of the link with a host; nothing happens where there is none.
    package typealias Send = @Sendable (NodeID, [UInt8]) async -> Void

    /// Each answer costs connections that are tried; further questions meanwhile are dropped, their askers wait in vain.
    private static let mostAnswersAtOnce = 4

    private let version: String
    private var waiting: [UInt64: (node: NodeID, answered: AsyncStream<DiagnosisAnswer>.Continuation)] = [:]
    private var lastNumber: UInt64 = 0
    private var answering: Set<NodeID> = []

    package init(version: String) { self.version = version }

    /// Nil when the peer does not answer before the task is cancelled.
    package func ask(_ node: NodeID, _ question: DiagnosisQuestion, send: Send) async -> DiagnosisAnswer? {
        lastNumber += 1
        let number = lastNumber
        let (answers, answered) = AsyncStream.makeStream(of: DiagnosisAnswer.self)
        waiting[number] = (node, answered)
        defer { waiting[number] = nil }
        await send(node, DiagnosisMessage.question(number: number, question).encoded())
        for await answer in answers { return answer }
        return nil
    }

    /// A payload that came on the diagnosis channel from `node`, whose link is with `address`, and which was `heard`
    /// so long ago by each channel; what is returned is sent back. Throws ``RuntimeError`` for a message that is none.
    package func receive(
        _ payload: [UInt8], from node: NodeID, at address: NetworkAddress, heard: [DiscoveryChannel: Duration]
    ) async throws(RuntimeError) -> [UInt8]? {
        switch try DiagnosisMessage(decoding: payload) {
        case .answer(let number, let answer):
            // Only the one that was asked may answer.
            if let asker = waiting[number], asker.node == node { asker.answered.yield(answer) }
            return nil
        case .question(let number, let question):
            guard answering.count < Self.mostAnswersAtOnce, answering.insert(node).inserted else { return nil }
            defer { answering.remove(node) }
            let ages = heard.sorted { $0.key < $1.key }.map { DiagnosisAnswer.Heard(channel: $0.key, age: $0.value) }
            let answer = await PeerDoctor.answer(question, from: address, heard: ages, version: version)
            return DiagnosisMessage.answer(number: number, answer).encoded()
        }
    }
}
