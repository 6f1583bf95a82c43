import Core
import Node

/// The items of the Responses and Conversations APIs: how messages are shown, and by which ids they are found.
///
/// An item is named by the question of its exchange and its place there: 0 is the question, then come the answer's
/// thoughts, its text and its calls. So every host gives the same ids, and they are known before the first of the
/// answer is.
struct ResponseItem {
    static let thoughts = 1
    static let text = 2
    static let firstCall = 3

    var id: String
    var json: JSON

    /// The items of an exchange, in order.
    static func all(of exchange: KeptExchange) -> [ResponseItem] {
        question(exchange.question)
            + (exchange.answer.map { answer($0.turn.message, to: exchange.question.dot.digits) } ?? [])
    }

    /// What was asked, or stands alone.
    static func question(_ turn: ConversationTurn) -> [ResponseItem] {
        let message = turn.turn.message
        let digits = turn.dot.digits
        switch message.role {
        case .assistant: return answer(message, to: digits)
        case .tool:
            return [
                ResponseItem(id("fco", digits, 0)) {
                    [
                        "id": $0, "type": "function_call_output", "status": "completed",
                        "call_id": .string(message.toolCallID ?? ""), "output": .string(message.text),
                    ]
                }
            ]
        case .user, .system:
            return [
                ResponseItem(id("msg", digits, 0)) {
                    [
                        "id": $0, "type": "message", "status": "completed", "role": .string(message.role.rawValue),
                        "content": [["type": "input_text", "text": .string(message.text)]],
                    ]
                }
            ]
        }
    }

    /// What was answered.
    static func answer(
        _ message: Message, to digits: String, status: String = "completed", logprobs: [TokenProbability] = []
    ) -> [ResponseItem] {
        var items: [ResponseItem] = []
        if let thoughts = message.reasoning {
            items.append(
                ResponseItem(id("rs", digits, Self.thoughts)) { reasoning($0, thoughts, status) })
        }
        if !message.text.isEmpty || message.toolCalls.isEmpty {
            items.append(
                ResponseItem(id("msg", digits, Self.text)) { self.message($0, message.text, status, logprobs) })
        }
        for (index, call) in message.toolCalls.enumerated() {
            items.append(ResponseItem(id("fc", digits, firstCall + index)) { self.call($0, call, status) })
        }
        return items
    }

    static func reasoning(_ id: JSON, _ text: String?, _ status: String) -> JSON {
        [
            "id": id, "type": "reasoning", "status": .string(status), "summary": [],
            "content": text.map { [["type": "reasoning_text", "text": .string($0)]] } ?? [],
        ]
    }

    static func message(
        _ id: JSON, _ text: String?, _ status: String, _ logprobs: [TokenProbability] = []
    ) -> JSON {
        [
            "id": id, "type": "message", "status": .string(status), "role": "assistant",
            "content": text.map { [part($0, logprobs)] } ?? [],
        ]
    }

    static func part(_ text: String, _ logprobs: [TokenProbability] = []) -> JSON {
        [
            "type": "output_text", "text": .string(text), "annotations": [],
            "logprobs": .array(logprobs.map(\.json)),
        ]
    }

    static func call(_ id: JSON, _ call: ToolCall, _ status: String) -> JSON {
        [
            "id": id, "type": "function_call", "status": .string(status), "call_id": .string(call.id),
            "name": .string(call.name), "arguments": .string(call.arguments),
        ]
    }

    private init(_ id: String, _ json: (JSON) -> JSON) {
        self.id = id
        self.json = json(.string(id))
    }

    // MARK: Ids

    static func id(_ kind: String, _ digits: String, _ place: Int) -> String {
        let place = UInt16(clamping: place)
        return "\(kind)_\(digits)\([UInt8(place >> 8), UInt8(place & 255)].hex)"
    }

    /// The question and the place in its exchange; nil for an id that was not made here.
    static func place(_ id: String) -> (question: Dot, place: Int)? {
        guard let line = id.firstIndex(of: "_") else { return nil }
        let digits = id[id.index(after: line)...]
        guard digits.utf8.count == 60, let question = Dot(digits: digits.prefix(56)),
            let place = [UInt8](hex: digits.suffix(4))
        else { return nil }
        return (question, Int(place[0]) << 8 | Int(place[1]))
    }
}
