import Core

/// How a family of models wants a conversation written: data and our own renderer. A template of a model file is
/// only recognised by words in it, never executed.
struct ChatTemplate: Hashable, Sendable {
    /// What stands before and after the text of one message.
    struct Turn: Hashable, Sendable {
        var opening: String
        var closing: String
    }

    var name: String
    /// All of these words stand in the model file's template, and none of the others.
    var fingerprint: [String]
    var foreign: [String] = []
    /// Nil where the family has no system role: such text is put before the next user's.
    var system: Turn?
    var user: Turn
    var assistant: Turn
    /// Ends the prompt: the model goes on from here.
    var answer: String
    var controlWords: [String]
    /// The tokenizer begins an answer with a space that is not part of it.
    var beginsWithSpace = false

    /// The prompt, without a token for its beginning: engines add that by themselves.
    func render(_ messages: [Message], controlWords: ControlWords) -> String {
        var prompt = ""
        var instructions: [String] = []
        for message in messages {
            let text = controlWords.neutralised(message.text)
            switch (message.role, system) {
            case (.system, let turn?): prompt += turn.opening + text + turn.closing
            case (.system, nil): instructions.append(text)
            case (.user, _), (.tool, _):
                prompt += user.opening + (instructions + [text]).joined(separator: "\n\n") + user.closing
                instructions = []
            case (.assistant, _): prompt += assistant.opening + text + assistant.closing
            }
        }
        if !instructions.isEmpty {
            prompt += user.opening + instructions.joined(separator: "\n\n") + user.closing
        }
        return prompt + answer
    }

    /// The template that a configuration names.
    ///
    /// - Throws: ``RuntimeError`` `.configuration` that lists the known names.
    static func named(_ name: String) throws(RuntimeError) -> ChatTemplate {
        guard let template = known.first(where: { $0.name == name }) else {
            throw RuntimeError(
                .configuration, "there is no chat template \(name); the known ones are \(names)", parameter: "template")
        }
        return template
    }

    /// The template that the text of a model file's own one shows.
    ///
    /// - Throws: ``RuntimeError`` `.configuration` that lists the known names.
    static func recognised(in text: String?) throws(RuntimeError) -> ChatTemplate {
        guard let text else {
            throw RuntimeError(
                .configuration,
                "the model file has no chat template; set the model's \"template\" to one of \(names)",
                parameter: "template")
        }
        let match = known.first { template in
            template.fingerprint.allSatisfy(text.contains) && !template.foreign.contains(where: text.contains)
        }
        guard let match else {
            throw RuntimeError(
                .configuration,
                "the model file's chat template is of no known family; set the model's \"template\" to one of \(names)",
                parameter: "template")
        }
        return match
    }

    private static var names: String {
        var seen: Set<String> = []
        return known.map(\.name).filter { seen.insert($0).inserted }.sorted().joined(separator: ", ")
    }
}
