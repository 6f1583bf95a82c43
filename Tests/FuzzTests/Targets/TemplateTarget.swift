import Core

@testable import Engine

/// A model file's own template, its control words and what clients say: parts between zeros. The first is the template,
/// the second what is said, the others words.
enum TemplateTarget {
    static func run(_ bytes: [UInt8]) throws(Broken) {
        let parts = bytes.parts(0).map { String(decoding: $0, as: UTF8.self) }
        guard parts.count >= 2 else { return }
        let said = parts[1]
        _ = try? ChatTemplate.named(parts[0])
        // No template of a file is ever executed: those that are known are tried all.
        var templates = ChatTemplate.known
        if let template = try? ChatTemplate.recognised(in: parts[0]) { templates.append(template) }
        let words = parts.dropFirst(2).prefix(8)
        for template in templates {
            let control = ControlWords(template.controlWords + words)
            let text = control.neutralised(said)
            for word in template.controlWords where word.count > 1 {
                try hold(!text.utf8.contains(word.utf8), "\(template.name): \(word) is left in what is said")
            }
            try hold(
                visible(text) == visible(said),
                "\(template.name): what is said reads otherwise")
            let prompt = template.render(
                [Message(.system, said), Message(.user, said), Message(.assistant, said)], controlWords: control)
            try hold(prompt.hasSuffix(template.answer), "\(template.name): the prompt does not end as it should")
        }
    }

    private static func visible(_ text: String) -> [Unicode.Scalar] { text.unicodeScalars.filter { $0 != "\u{200B}" } }
}
