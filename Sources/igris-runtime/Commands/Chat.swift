import ArgumentParser
import Core
import NIOPosix

/// `igris-runtime chat`: talks to a daemon, from a terminal or through a pipe.
struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk to the daemon.",
        discussion: "Without TEXT: line by line on a terminal; through a pipe all of standard input is one message.")

    @OptionGroup var daemon: DaemonOptions

    @Option(name: [.customShort("c"), .long], help: "The conversation to continue; without it your default one.")
    var conversation: String?

    @Option(help: "The model that answers; without it the daemon's first.")
    var model: String?

    @Argument(help: "What to say.")
    var text: [String] = []

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(daemon, environment: Environment.variables)
            let model: String
            if let named = self.model { model = named } else { model = try await firstModel(client) }
            if !text.isEmpty {
                try await say(text.joined(separator: " "), to: model, client)
            } else if Terminal.isInputPiped {
                let input = Terminal.readAll(limit: Limits.inferenceBodyBytes)
                let message = String(decoding: input, as: UTF8.self).trimmingNewlines
                guard !message.isEmpty else { throw RuntimeError(.invalidRequest, "standard input holds no message") }
                try await say(message, to: model, client)
            } else {
                try await converse(model, client)
            }
        }
    }

    private func converse(_ model: String, _ client: DaemonClient) async throws {
        Terminal.write("\(model) at \(client.address). Ctrl-D ends.\n")
        while true {
            Terminal.write("> ")
            // Waiting for a person must not hold up the tasks of the process.
            guard let line = try await NIOThreadPool.singleton.runIfActive({ readLine() }) else {
                Terminal.write("\n")
                return
            }
            if !line.isEmpty { try await say(line, to: model, client) }
        }
    }

    private func firstModel(_ client: DaemonClient) async throws -> String {
        let models = try await client.send(.get, "/v1/models").json()
        guard let name = models["data"]?.array?.first?["id"]?.string else {
            throw RuntimeError(.unavailable, "the daemon has no model; configure one under models")
        }
        return name
    }

    private func say(_ message: String, to model: String, _ client: DaemonClient) async throws {
        var request: JSON.Object = JSON.Object()
        request["model"] = .string(model)
        request["messages"] = [["role": "user", "content": .string(message)]]
        request["stream"] = true
        if let conversation { request["conversation"] = .string(conversation) }

        var events = EventStream()
        var refusal: [UInt8] = []
        let status = try await client.exchange(.post, "/v1/chat/completions", .object(request)) { status, bytes in
            guard status == 200 else {
                refusal += bytes
                return
            }
            for event in try events.receive(bytes) where event != "[DONE]" {
                let chunk = try JSON.parse(event)
                if let failure = chunk["error"]?["message"]?.string {
                    throw RuntimeError(.engineFailed, "the answer broke off: \(failure)")
                }
                if let piece = chunk["choices"]?.array?.first?["delta"]?["content"]?.string {
                    Terminal.write(untrusted: piece)
                }
            }
        }
        guard status == 200 else {
            throw DaemonClient.Reply.error(status: status, try? JSON.parse(refusal))
        }
        Terminal.write("\n")
    }
}

extension String {
    fileprivate var trimmingNewlines: String {
        var text = self
        while text.last?.isNewline == true { text.removeLast() }
        return text
    }
}
