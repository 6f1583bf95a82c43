import Core

/// Ids of answers: the dot of the question, so that every host finds the exchange by it, or random where nothing is
/// kept.
enum AnswerID {
    static func chatCompletion(_ question: Dot?) -> String { "chatcmpl-\(digits(of: question))" }

    static func digits(of question: Dot?) -> String { question?.digits ?? random() }

    /// The random part of an id.
    static func random() -> String {
        Bytes16(high: UInt64.random(in: .min ... .max), low: UInt64.random(in: .min ... .max)).description
    }
}
