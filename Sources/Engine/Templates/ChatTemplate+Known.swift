extension ChatTemplate {
    /// The families that we know, in the order in which a model file's template is compared with them: words of the
    /// later ones occur in templates of the earlier ones.
    static let known: [ChatTemplate] = [
        ChatTemplate(
            name: "command-r", fingerprint: ["<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"],
            system: Turn(
                opening: "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", closing: "<|END_OF_TURN_TOKEN|>"),
            user: Turn(opening: "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", closing: "<|END_OF_TURN_TOKEN|>"),
            assistant: Turn(opening: "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", closing: "<|END_OF_TURN_TOKEN|>"),
            answer: "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", controlWords: ["<|", "<BOS_TOKEN>", "<EOS_TOKEN>"]),
        headers(name: "llama3", opening: "<|start_header_id|>", middle: "<|end_header_id|>\n\n", closing: "<|eot_id|>"),
        ChatTemplate(
            name: "chatml", fingerprint: ["<|im_start|>"], foreign: ["<|im_sep|>"],
            system: Turn(opening: "<|im_start|>system\n", closing: "<|im_end|>\n"),
            user: Turn(opening: "<|im_start|>user\n", closing: "<|im_end|>\n"),
            assistant: Turn(opening: "<|im_start|>assistant\n", closing: "<|im_end|>\n"),
            answer: "<|im_start|>assistant\n", controlWords: ["<|"]),
        ChatTemplate(
            name: "gemma", fingerprint: ["<start_of_turn>"], system: nil,
            user: Turn(opening: "<start_of_turn>user\n", closing: "<end_of_turn>\n"),
            assistant: Turn(opening: "<start_of_turn>model\n", closing: "<end_of_turn>\n"),
            answer: "<start_of_turn>model\n",
            controlWords: ["<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<pad>", "<unk>"]),
        roles(name: "phi3", end: "<|end|>", fingerprint: ["<|assistant|>", "<|end|>"]),
        roles(name: "zephyr", end: "</s>", fingerprint: ["<|assistant|>", "eos_token"]),
        roles(name: "zephyr", end: "<|endoftext|>", fingerprint: ["<|assistant|>", "<|endoftext|>"]),
        ChatTemplate(
            name: "mistral", fingerprint: ["[INST]"], foreign: ["<<SYS>>", "[SYSTEM_PROMPT]"], system: nil,
            user: Turn(opening: "[INST] ", closing: " [/INST]"), assistant: Turn(opening: " ", closing: "</s>"),
            answer: "",
            controlWords: [
                "[INST]", "[/INST]", "<s>", "</s>", "<unk>", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
                "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]",
            ], beginsWithSpace: true),
    ]

    /// `<|role|>`, a line, the text, the end word, a line.
    private static func roles(name: String, end: String, fingerprint: [String]) -> ChatTemplate {
        func turn(_ role: String) -> Turn { Turn(opening: "<|\(role)|>\n", closing: "\(end)\n") }
        return ChatTemplate(
            name: name, fingerprint: fingerprint, system: turn("system"), user: turn("user"),
            assistant: turn("assistant"), answer: "<|assistant|>\n", controlWords: ["<|", "<s>", "</s>", "<unk>"])
    }

    /// The role between two words, the text, the end word.
    private static func headers(name: String, opening: String, middle: String, closing: String) -> ChatTemplate {
        func turn(_ role: String) -> Turn { Turn(opening: opening + role + middle, closing: closing) }
        return ChatTemplate(
            name: name, fingerprint: [opening], system: turn("system"), user: turn("user"),
            assistant: turn("assistant"), answer: opening + "assistant" + middle, controlWords: ["<|"])
    }
}
