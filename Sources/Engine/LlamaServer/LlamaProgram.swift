/// Which of llama.cpp's programs runs a model (engines.md §2): the server where it is installed, for it can do more.
package enum LlamaProgram: Sendable {
    case server(command: [String])
    case completion(command: [String])

    package static let server = ["llama-server"]
    private static let completion = ["llama-completion"]

    /// Whether any of them is in this process's `PATH`.
    package static var isInstalled: Bool {
        ChildCommand.find("llama-server") != nil || ChildCommand.find("llama-completion") != nil
    }

    /// - Parameter command: As configured; empty to look in this process's `PATH`. Where nothing is found it is the
    ///   server, whose start then says what to install.
    package static func best(of command: [String]) -> LlamaProgram {
        if let program = command.first {
            let isCompletion = ChildCommand.baseName(program).contains("completion") || command.contains("completion")
            return isCompletion ? .completion(command: command) : .server(command: command)
        }
        if ChildCommand.find("llama-server") == nil, ChildCommand.find("llama-completion") != nil {
            return .completion(command: completion)
        }
        return .server(command: server)
    }
}
