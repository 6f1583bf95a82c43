import ArgumentParser
import Core

/// The clients that ``Connect`` knows.
enum ConnectedClient: String, CaseIterable, ExpressibleByArgument {
    case openWebUI = "open-webui"
    case claudeCode = "claude-code"
    case codex
    case vscode
    case aider
}

/// What one client needs: where to paste what, and the request that it will send.
struct ConnectionRecipe {
    /// A request as the client sends it.
    struct Trial {
        var path: String
        /// Nil for GET.
        var body: JSON?
        /// Stands in every good reply.
        var sign: String
        /// Stands in a good reply that the bound of its tokens ended, where that is told apart.
        var signOfBound: String?

        func isAnswer(_ reply: String) -> Bool {
            reply.contains(sign) || signOfBound.map { reply.contains($0) } ?? false
        }
    }

    let client: ConnectedClient
    /// `http://HOST:PORT`
    let address: String
    let model: String
    /// A key is in $IGRIS_API_KEY.
    let hasKey: Bool

    /// What to do with ``text``.
    var place: String {
        switch client {
        case .openWebUI: "run this; then open http://localhost:3000"
        case .claudeCode: "run this in the folder of your project"
        case .codex: "add this to ~/.codex/config.toml"
        case .vscode: "add this to VS Code's settings.json, then pick the model in the chat's model menu"
        case .aider: "run this in the folder of your project"
        }
    }

    /// The one thing to paste.
    var text: String {
        switch client {
        case .openWebUI:
            """
            docker run -d --name open-webui --network host -v open-webui:/app/backend/data \\
              -e PORT=3000 -e OPENAI_API_BASE_URL=\(address)/v1 -e OPENAI_API_KEY=\(keyInShell) \\
              -e ENABLE_OLLAMA_API=false ghcr.io/open-webui/open-webui:main

            """
        case .claudeCode:
            """
            ANTHROPIC_BASE_URL=\(address) ANTHROPIC_AUTH_TOKEN=\(keyInShell) \\
              ANTHROPIC_MODEL=\(quoted) ANTHROPIC_DEFAULT_HAIKU_MODEL=\(quoted) claude

            """
        case .codex:
            """
            model = \(JSON.string(model).text)
            model_provider = "igris"

            [model_providers.igris]
            name = "igris-runtime"
            base_url = "\(address)/v1"
            wire_api = "responses"
            \(hasKey ? "env_key = \"IGRIS_API_KEY\"\n" : "")
            """
        case .vscode: "\"github.copilot.chat.byok.ollamaEndpoint\": \(JSON.string(address).text)\n"
        case .aider:
            """
            OPENAI_API_BASE=\(address)/v1 OPENAI_API_KEY=\(keyInShell) aider --model \(quotedWithProvider)

            """
        }
    }

    /// What a person should know before it surprises them.
    var notes: [String] {
        switch client {
        case .claudeCode, .codex:
            ["it works with tools; the model's engine must call them (igris-runtime models ls --json, capabilities)"]
        case .vscode where hasKey: ["VS Code sends Ollama no key: this works from the machine itself only"]
        default: []
        }
    }

    /// What the client will send, streamed as the client wants it.
    var trials: [Trial] {
        switch client {
        case .openWebUI: [Trial(path: "/v1/models", sign: #""object":"list""#), chat]
        case .aider: [chat]
        case .claudeCode:
            [
                Trial(
                    path: "/v1/messages",
                    body: [
                        "model": .string(model), "messages": [["role": "user", "content": "Hello"]], "max_tokens": 8,
                        "stream": true, "store": false,
                    ], sign: "event: message_stop")
            ]
        case .codex:
            [
                Trial(
                    path: "/v1/responses",
                    body: [
                        "model": .string(model), "input": "Hello", "max_output_tokens": 16, "store": false,
                        "stream": true,
                    ], sign: "event: response.completed",
                    signOfBound: "event: response.incomplete")
            ]
        case .vscode:
            [
                Trial(path: "/api/version", sign: #""version""#), Trial(path: "/api/tags", sign: #""models""#),
                Trial(path: "/api/show", body: ["model": .string(model)], sign: #""capabilities""#), chat,
            ]
        }
    }

    private var chat: Trial {
        Trial(
            path: "/v1/chat/completions",
            body: [
                "model": .string(model), "messages": [["role": "user", "content": "Hello"]], "max_tokens": 8,
                "store": false, "stream": true,
            ], sign: "data: [DONE]")
    }

    /// For a POSIX shell.
    private var keyInShell: String { hasKey ? "\"$IGRIS_API_KEY\"" : "unused" }
    private var quoted: String { Self.shell(model) }
    private var quotedWithProvider: String { Self.shell("openai/\(model)") }

    static func shell(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "._-/:@+".utf8.contains(byte)
        }
        guard !isPlain || text.isEmpty else { return text }
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }
}
