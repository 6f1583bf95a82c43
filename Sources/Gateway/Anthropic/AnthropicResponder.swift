import Core
import HTTPTypes
import Node

/// Answers in Anthropic's dialect.
struct AnthropicResponder: Sendable {
    let flow: AnswerFlow

    func respond(
        to route: AnthropicRoute, _ exchange: Exchange, caller: Owner, body: [UInt8], _ writer: ReplyWriter
    ) async throws {
        let json = try JSON.parse(body)
        let headers = exchange.head.headerFields
        switch route {
        case .messages:
            let request = try MessagesRequest(json, headers: headers)
            try await flow.answer(
                request.chat, streams: request.streams, to: exchange, caller: caller, writer
            ) { answer in
                MessagesEncoder(request, answer: answer, id: "msg_\(AnswerID.digits(of: answer.question))")
            }
        case .countTokens:
            let request = try MessagesRequest(json, headers: headers, countsOnly: true)
            try await flow.prepare(request.chat.model)
            let count = try await flow.node.countTokens(request.chat, caller: caller).tokens
            try await writer.send(Reply(["input_tokens": .integer(Int64(count))]))
        }
    }
}
