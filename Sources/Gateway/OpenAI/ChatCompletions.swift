import Core
import HTTPTypes
import Node

/// `POST /v1/chat/completions`.
struct ChatCompletions: Sendable {
    let flow: AnswerFlow

    func respond(to exchange: Exchange, caller: Owner, body: [UInt8], _ writer: ReplyWriter) async throws {
        let request = try ChatCompletionRequest(JSON.parse(body), headers: exchange.head.headerFields)
        try await flow.answer(
            request.chat, streams: request.streams, to: exchange, caller: caller, writer
        ) { answer in
            ChatCompletionEncoder(request, answer: answer, id: AnswerID.chatCompletion(answer.question))
        }
    }
}
