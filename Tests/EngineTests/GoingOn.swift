import Core
import Testing

extension InferenceEngine {
    /// It goes on behind any beginning of its answer, and counts that as written. The answer is "Your name is Alice".
    func expectGoingOn(with question: [Message]) async throws {
        let whole = try await answer(GenerationRequest(messages: question, maximumTokens: 64))
        for cut in [1, 5, 11, 17, 18] {
            var request = GenerationRequest(messages: question, maximumTokens: 64)
            request.partial = String(whole.text.prefix(cut))
            let rest = try await answer(request)
            #expect((request.partial ?? "") + rest.text == whole.text)
            #expect(rest.reason == whole.reason)
            #expect(rest.usage?.promptTokens == whole.usage?.promptTokens)
            #expect(rest.usage?.completionTokens == whole.usage?.completionTokens)
        }
        var bounded = GenerationRequest(messages: question, maximumTokens: 9)
        bounded.partial = "Your"
        let cut = try await answer(bounded)
        #expect(cut.text == " name")
        #expect(cut.reason == .length)
        #expect(cut.usage?.completionTokens == 9)
        bounded.maximumTokens = 4
        let spent = try await answer(bounded)
        #expect(spent.text.isEmpty)
        #expect(spent.reason == .length)
        #expect(spent.usage?.completionTokens == 4)
    }
}
