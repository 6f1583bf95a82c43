package import Core

/// What a conversation says, in its order: each question once, with the one answer that counts.
package struct Transcript: Sendable {
    /// A client's turn and the answer that it got; or instructions, or what the assistant said unasked, alone.
    package struct Exchange: Hashable, Sendable {
        package var question: Dot
        package var message: Message
        package var requestKey: Bytes16?
        /// The answer that counts: the last complete one, else the longest of the others.
        package var answer: Answer?

        /// The answer, if the model came to its own end.
        package var completeAnswer: Answer? { answer.flatMap { $0.isComplete ? $0 : nil } }
    }

    package struct Answer: Hashable, Sendable {
        package var dot: Dot
        package var message: Message
        package var outcome: Turn.Outcome

        /// Whether the model came to its own end.
        package var isComplete: Bool { outcome.finishReason.isComplete }
    }

    package private(set) var exchanges: [Exchange] = []
    /// Which exchange a question belongs to.
    private var places: [Dot: Int] = [:]
    private var keys: [Bytes16: Int] = [:]

    package init() {}

    /// Adds the next turn of the linear order. A question with a request key that stands already is the same request,
    /// retried on another host: its answer counts for the first (swarm.md §2).
    package mutating func append(_ turn: Turn, dot: Dot, dependencies: [Dot]) {
        if turn.message.role == .assistant {
            if let outcome = turn.outcome, let question = dependencies.first, let place = places[question] {
                let answer = Answer(dot: dot, message: turn.message, outcome: outcome)
                if let old = exchanges[place].answer, !Self.counts(answer, over: old) { return }
                exchanges[place].answer = answer
            } else {
                // Said without a question: a greeting, or a second message in a row.
                exchanges.append(Exchange(question: dot, message: turn.message))
            }
            return
        }
        if let key = turn.requestKey, let place = keys[key] {
            places[dot] = place
            return
        }
        if turn.message.role != .system { places[dot] = exchanges.count }
        if let key = turn.requestKey { keys[key] = exchanges.count }
        exchanges.append(Exchange(question: dot, message: turn.message, requestKey: turn.requestKey))
    }

    private static func counts(_ new: Answer, over old: Answer) -> Bool {
        if new.isComplete != old.isComplete { return new.isComplete }
        return new.isComplete || new.message.promptBytes >= old.message.promptBytes
    }

    /// The exchange that was asked with `key`.
    package func exchange(requestKey key: Bytes16) -> Exchange? { keys[key].map { exchanges[$0] } }

    /// The exchange that a question began, or a message that stands alone.
    package func exchange(asked question: Dot) -> Exchange? {
        places[question].map { exchanges[$0] } ?? exchanges.first { $0.question == question }
    }

    /// What a client asked last, or what its tools gave back.
    package var lastQuestion: Exchange? { exchanges.last { $0.message.role == .user || $0.message.role == .tool } }

    /// What is said, without the instructions: an unfinished answer counts as far as it came.
    package var messages: [Message] { Self.said(in: exchanges[...]).map(\.message) }

    /// The same with the turn that says it.
    package var said: [(dot: Dot, message: Message)] { Self.said(in: exchanges[...]) }

    /// What was said before `question` was asked.
    package func messages(before question: Dot) -> [Message] {
        Self.said(in: exchanges.prefix { $0.question != question }).map(\.message)
    }

    private static func said(in exchanges: ArraySlice<Exchange>) -> [(dot: Dot, message: Message)] {
        var said: [(dot: Dot, message: Message)] = []
        for exchange in exchanges where exchange.message.role != .system {
            said.append((exchange.question, exchange.message))
            if let answer = exchange.answer, !answer.message.isEmpty { said.append((answer.dot, answer.message)) }
        }
        return said
    }

    /// The instructions that hold at the end: the last that were given.
    package var instructions: Message? { exchanges.last { $0.message.role == .system }?.message }

    /// How many of the first messages here are the first of `messages`.
    package func agreement(with messages: [Message]) -> Int {
        zip(self.messages, messages).prefix { Self.trimmed($0) == Self.trimmed($1) }.count
    }

    /// How many of the last messages here are the first of `messages`: what a client sends again.
    /// Knuth, Morris and Pratt's search, since the messages of a hostile client may all be alike.
    package func overlap(with messages: [Message]) -> Int {
        let ours = self.messages.suffix(messages.count).map(Self.trimmed)
        let messages = messages.map(Self.trimmed)
        /// For each beginning of `messages`, the length of the longest shorter beginning that it ends with.
        var borders: [Int] = []
        borders.reserveCapacity(messages.count)
        for (index, message) in messages.enumerated() {
            var length = index > 0 ? borders[index - 1] : 0
            while length > 0, messages[length] != message { length = borders[length - 1] }
            borders.append(index > 0 && messages[length] == message ? length + 1 : 0)
        }
        var length = 0
        for message in ours {
            if length == messages.count { length = borders[length - 1] }
            while length > 0, messages[length] != message { length = borders[length - 1] }
            if length < messages.count, messages[length] == message { length += 1 }
        }
        return length
    }

    /// Without the white space around the text, which clients trim, and without thoughts, which they do not send again.
    private static func trimmed(_ message: Message) -> Message {
        var message = message
        message.reasoning = nil
        message.text = trimmed(message.text)
        return message
    }

    private static func trimmed(_ whole: String) -> String {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
        let text = whole.utf8
        guard let first = text.first, let last = text.last, isSpace(first) || isSpace(last) else { return whole }
        let rest = text.drop(while: isSpace)
        guard let end = rest.lastIndex(where: { !isSpace($0) }) else { return "" }
        return String(decoding: rest[...end], as: UTF8.self)
    }
}
