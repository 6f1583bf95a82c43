import Core
import Node

/// Writes one answer as the Responses API does: typed events with rising numbers, or one object (wire.md §5.7).
struct ResponseEncoder: AnswerEncoder {
    static let keepsText = true

    private let id: String
    private let digits: String
    private let created: Int64
    private let record: ResponseRecord
    private let isStored: Bool
    private var sequence = 0
    /// Events up to this number are left out: the client has them.
    private let last: Int
    /// Items that have begun, by their place in the exchange: their places in the output.
    private var outputs: [Int: Int] = [:]
    private var logprobs: [TokenProbability] = []

    init(_ record: ResponseRecord, answer: ChatAnswer, after last: Int = -1) {
        self.record = record
        self.last = last
        digits = AnswerID.digits(of: answer.question)
        id = "resp_\(digits)"
        created = answer.created
        isStored = answer.question != nil
    }

    // MARK: Events

    mutating func opening() -> [UInt8] {
        let response = response(.inProgress, [], nil)
        return event("response.created", ["response": response])
            + event("response.in_progress", ["response": response])
    }

    mutating func piece(_ event: ChatEvent) -> [UInt8] {
        switch event {
        case .text(_, let text): return delta(ResponseItem.text, "response.output_text.delta", text)
        case .reasoning(_, let text): return delta(ResponseItem.thoughts, "response.reasoning_text.delta", text)
        case .toolCall(_, let piece): return call(piece)
        case .logprobs(_, let tokens):
            logprobs += tokens
            return []
        case .finished, .moved: return []
        }
    }

    mutating func closing(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> [UInt8] {
        guard let choice = choices.first else { return [] }
        var bytes: [UInt8] = []
        let isEmpty = choice.message.isEmpty && choice.message.reasoning == nil
        // An answer of no words is a message all the same.
        if isEmpty { bytes += begin(ResponseItem.text) }
        let standing = ResponseRecord.Standing(after: choice.reason)
        let items = ResponseItem.answer(
            choice.message, to: digits, status: standing.itemStatus, logprobs: choice.logprobs)
        var output: [(index: Int, item: JSON)] = []
        for item in items {
            guard let place = ResponseItem.lastPlace(of: item.id), let index = outputs[place] else { continue }
            output.append((index, item.json))
        }
        output.sort { $0.index < $1.index }
        for (index, item) in output { bytes += finish(item, index) }
        let response = response(standing, output.map(\.item), usage, choice.failovers)
        return bytes + event("response.\(standing.status)", ["response": response])
    }

    mutating func breakingOff(_ error: APIError) -> [UInt8] {
        event("response.failed", ["response": response(.failed(error.message), [], nil)])
    }

    static func failure(_ error: APIError) -> [UInt8] {
        event(
            "error", 0,
            [
                "code": .string(error.code), "message": .string(error.message),
                "param": error.parameter.map { .string($0) } ?? .null,
            ])
    }

    // MARK: Items

    /// The next words of a text. Put together by hand: it happens for each token.
    private mutating func delta(_ place: Int, _ type: String, _ text: String) -> [UInt8] {
        var bytes = outputs[place] == nil ? begin(place) : []
        if sequence <= last {
            sequence += 1
            if place == ResponseItem.text { logprobs = [] }
            return bytes
        }
        bytes.reserveCapacity(bytes.count + text.utf8.count + 320)
        bytes.append(contentsOf: "event: \(type)\ndata: {\"type\":\"\(type)\",\"sequence_number\":\(sequence)".utf8)
        bytes.append(contentsOf: #","item_id":"\#(itemID(place))","output_index":\#(outputs[place] ?? 0)"#.utf8)
        bytes.append(contentsOf: #","content_index":0,"delta":"#.utf8)
        JSON.write(text, to: &bytes)
        if place == ResponseItem.text {
            bytes.append(contentsOf: #","logprobs":"#.utf8)
            bytes += JSON.array(logprobs.map(\.json)).encoded
            if !logprobs.isEmpty { logprobs = [] }
        }
        bytes.append(contentsOf: "}\n\n".utf8)
        sequence += 1
        return bytes
    }

    private mutating func call(_ piece: ToolCallPiece) -> [UInt8] {
        let place = ResponseItem.firstCall + max(0, piece.index)
        var bytes: [UInt8] = []
        if outputs[place] == nil {
            let call = ToolCall(id: piece.id ?? "", name: piece.name ?? "", arguments: "")
            bytes += added(place, ResponseItem.call(.string(itemID(place)), call, "in_progress"))
        }
        guard !piece.arguments.isEmpty else { return bytes }
        return bytes
            + event(
                "response.function_call_arguments.delta",
                [
                    "item_id": .string(itemID(place)), "output_index": .integer(Int64(outputs[place] ?? 0)),
                    "delta": .string(piece.arguments),
                ])
    }

    /// The first words of a text are to come.
    private mutating func begin(_ place: Int) -> [UInt8] {
        let id = JSON.string(itemID(place))
        let isText = place == ResponseItem.text
        let item =
            isText ? ResponseItem.message(id, nil, "in_progress") : ResponseItem.reasoning(id, nil, "in_progress")
        let part: JSON = isText ? ResponseItem.part("") : ["type": "reasoning_text", "text": ""]
        return added(place, item) + content("response.content_part.added", id, outputs[place] ?? 0, "part", part)
    }

    private mutating func added(_ place: Int, _ item: JSON) -> [UInt8] {
        let index = outputs.count
        outputs[place] = index
        return event("response.output_item.added", ["output_index": .integer(Int64(index)), "item": item])
    }

    private mutating func finish(_ item: JSON, _ index: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        let id = item["id"] ?? ""
        if item["type"] == "function_call" {
            bytes += event(
                "response.function_call_arguments.done",
                [
                    "item_id": id, "output_index": .integer(Int64(index)), "name": item["name"] ?? "",
                    "arguments": item["arguments"] ?? "",
                ])
        } else if let part = item["content"]?.array?.first {
            let isText = item["type"] == "message"
            bytes += content(
                isText ? "response.output_text.done" : "response.reasoning_text.done", id, index, "text",
                part["text"] ?? "", isText ? part["logprobs"] : nil)
            bytes += content("response.content_part.done", id, index, "part", part)
        }
        return bytes
            + event("response.output_item.done", ["output_index": .integer(Int64(index)), "item": item])
    }

    private mutating func content(
        _ type: String, _ id: JSON, _ index: Int, _ name: String, _ value: JSON, _ logprobs: JSON? = nil
    ) -> [UInt8] {
        var fields = JSON.Object()
        fields["item_id"] = id
        fields["output_index"] = .integer(Int64(index))
        fields["content_index"] = 0
        fields[name] = value
        if let logprobs { fields["logprobs"] = logprobs }
        return event(type, .object(fields))
    }

    private func itemID(_ place: Int) -> String {
        let kind = place == ResponseItem.thoughts ? "rs" : place == ResponseItem.text ? "msg" : "fc"
        return ResponseItem.id(kind, digits, place)
    }

    private mutating func event(_ type: String, _ fields: JSON) -> [UInt8] {
        defer { sequence += 1 }
        return sequence <= last ? [] : Self.event(type, sequence, fields)
    }

    private static func event(_ type: String, _ sequence: Int, _ fields: JSON) -> [UInt8] {
        var object = JSON.Object()
        object["type"] = .string(type)
        object["sequence_number"] = .integer(Int64(sequence))
        for member in fields.object?.members ?? [] { object[member.key] = member.value }
        return Array("event: \(type)\ndata: ".utf8) + JSON.object(object).encoded + Array("\n\n".utf8)
    }

    // MARK: The whole

    func whole(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> JSON {
        guard let choice = choices.first else { return nil }
        let standing = ResponseRecord.Standing(after: choice.reason)
        let items = ResponseItem.answer(
            choice.message, to: digits, status: standing.itemStatus, logprobs: choice.logprobs)
        return response(standing, items.map(\.json), usage, choice.failovers)
    }

    /// Taken on, to be fetched later.
    var queued: JSON { response(.queued, [], nil) }

    private func response(
        _ standing: ResponseRecord.Standing, _ output: [JSON], _ usage: TokenUsage?, _ failovers: [Failover] = []
    ) -> JSON {
        let response = record.response(
            id: id, created: created, standing, output: output, usage: usage, isStored: isStored)
        guard let report = failovers.report, var object = response.object else { return response }
        object["igris"] = report
        return .object(object)
    }
}

extension ResponseItem {
    /// The place that stands at the end of an id made here.
    static func lastPlace(of id: String) -> Int? {
        [UInt8](hex: id.suffix(4)).map { Int($0[0]) << 8 | Int($0[1]) }
    }
}
