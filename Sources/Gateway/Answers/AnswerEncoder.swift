import Core
import Node

/// How one dialect writes an answer: piece by piece in a stream, or whole. ``AnswerFlow`` does all the rest.
protocol AnswerEncoder: Sendable {
    /// The media type of the dialect's stream.
    static var streamType: String { get }
    /// Whether ``closing(_:_:)`` needs the texts of the whole answer.
    static var keepsText: Bool { get }

    /// What stands before the first piece.
    mutating func opening() -> [UInt8]
    /// The next event; nothing where the dialect has no words for it.
    mutating func piece(_ event: ChatEvent) -> [UInt8]
    /// What stands after the last piece, the stream's end included.
    mutating func closing(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> [UInt8]
    /// An answer that has begun and breaks off.
    mutating func breakingOff(_ error: APIError) -> [UInt8]
    /// A failure in a stream that was opened by a heartbeat, before the answer began.
    static func failure(_ error: APIError) -> [UInt8]
    /// The whole answer in one body.
    func whole(_ choices: [AnswerTally.Choice], _ usage: TokenUsage) -> JSON
}

extension AnswerEncoder {
    static var streamType: String { ContentType.eventStream }
    static var keepsText: Bool { false }
    mutating func breakingOff(_ error: APIError) -> [UInt8] { Self.failure(error) }
}
