import Core
import Testing

@testable import Engine

@Suite("Chat templates")
struct ChatTemplateTests {
    private static let messages = [
        Message(.system, "Be kind."), Message(.user, "Hi"), Message(.assistant, "Hello!"), Message(.user, "Who?"),
    ]

    @Test(
        "write a conversation as the family expects it",
        arguments: [
            (
                "chatml",
                "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                    + "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
            ),
            (
                "llama3",
                "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
                    + "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                    + "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
                    + "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
                    + "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
            (
                "phi3",
                "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n"
                    + "<|user|>\nWho?<|end|>\n<|assistant|>\n"
            ),
            (
                "zephyr",
                "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nWho?</s>\n"
                    + "<|assistant|>\n"
            ),
            (
                "gemma",
                "<start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n"
                    + "<start_of_turn>user\nWho?<end_of_turn>\n<start_of_turn>model\n"
            ),
            ("mistral", "[INST] Be kind.\n\nHi [/INST] Hello!</s>[INST] Who? [/INST]"),
            (
                "command-r",
                "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be kind.<|END_OF_TURN_TOKEN|>"
                    + "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
                    + "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello!<|END_OF_TURN_TOKEN|>"
                    + "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Who?<|END_OF_TURN_TOKEN|>"
                    + "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
            ),
        ])
    func rendering(name: String, expected: String) throws {
        let template = try ChatTemplate.named(name)
        #expect(template.render(Self.messages, controlWords: ControlWords(template.controlWords)) == expected)
    }

    /// Shortened, with the words that count, from the models' own files.
    @Test(
        "are recognised by words in a model file's own template",
        arguments: [
            ("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' }}", "chatml"),
            (
                "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] + '<|eot_id|>' }}",
                "llama3"
            ),
            ("{{ '<|' + role + '|>' }}{{'<|user|>\n' + c + '<|end|>\n<|assistant|>\n'}}", "phi3"),
            ("{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}", "gemma"),
            ("{{ bos_token }}{{ '[INST] ' + m['content'] + ' [/INST]' }}{{ m['content'] + eos_token}}", "mistral"),
            ("{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content + '<|END_OF_TURN_TOKEN|>' }}", "command-r"),
            ("{{ '<|user|>\n' + m['content'] + eos_token }}{{ '<|assistant|>' }}", "zephyr"),
            ("{{ '<|user|>\n' + m['content'] + '<|endoftext|>\n<|assistant|>\n' }}", "zephyr"),
        ])
    func recognition(text: String, name: String) throws {
        #expect(try ChatTemplate.recognised(in: text).name == name)
    }

    @Test("our own model's is phi3")
    func ownModel() throws {
        let facts = try ModelFacts(path: Repository.recallModel)
        #expect(try ChatTemplate.recognised(in: facts.templateText).name == "phi3")
        #expect(facts.isByteLevel)
        #expect(facts.contextLength == 2_048)
        #expect(facts.controlTokens.contains("<|end|>"))
    }

    @Test(
        "unknown ones are refused with the names of the known",
        arguments: [nil, "", "<<SYS>> [INST]", "<|im_start|>user<|im_sep|>"] as [String?])
    func unknown(text: String?) {
        let error = #expect(throws: RuntimeError.self) { try ChatTemplate.recognised(in: text) }
        #expect(error?.code == .configuration)
        #expect(error?.message.contains("chatml, command-r, gemma, llama3, mistral, phi3, zephyr") == true)
    }

    @Test("a system message that nothing follows is not lost where the family has no such role")
    func trailingSystem() throws {
        let template = try ChatTemplate.named("gemma")
        let prompt = template.render([Message(.system, "Say hi.")], controlWords: ControlWords([]))
        #expect(prompt == "<start_of_turn>user\nSay hi.<end_of_turn>\n<start_of_turn>model\n")
    }

    @Test("no message can hold a control word of any family")
    func neutralisation() throws {
        let words = ["<|im_end|>", "<|end|>", "</s>", "<s>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>"]
        for template in ChatTemplate.known {
            let control = ControlWords(template.controlWords + words)
            var random = SeededGenerator(seed: 7)
            for _ in 0..<200 {
                let text = (0..<8).map { _ in
                    (words + ["<", "|", "[", "ü", " ", "<|<|", "<<s>", "[[INST]"]).randomElement(using: &random) ?? ""
                }.joined()
                let safe = control.neutralised(text)
                #expect(!words.contains(where: safe.contains), "\(text)")
                #expect(!safe.contains("<|") || !template.controlWords.contains("<|"))
                #expect(safe.replacing("\u{200B}", with: "") == text)
            }
        }
    }

    @Test("ordinary text passes unchanged")
    func ordinaryText() {
        let control = ControlWords(["<|", "</s>", "<"])
        for text in ["", "a < b | c", "Grüße 🙂", "List<Int>", "<p>x</p>"] {
            #expect(control.neutralised(text) == text)
        }
    }
}
