import Core
import Synchronization

/// An answer that is watched while hosts are killed.
final class DemoAnswer: Sendable {
    private struct State {
        var id = ""
        var text = ""
        var killed: String?
    }

    private let state = Mutex(State())

    var id: String { state.withLock { $0.id } }
    var text: String { state.withLock { $0.text } }
    /// The name of the host that was killed.
    var killed: String? { state.withLock { $0.killed } }

    /// Asks a host, shows the answer as it comes, and kills a host in the middle of it: the one that `victim` names.
    /// Returns at the end of the stream, whichever end that is.
    static func ask(
        _ asked: DemoHost, _ question: String, among hosts: [DemoHost],
        _ victim: @escaping @Sendable (DemoHost) async throws -> DemoHost
    ) async throws -> DemoAnswer {
        let answer = DemoAnswer()
        Terminal.write("   asked of \(asked.name): \(question)\n   ")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while answer.text.utf8.count < 12 { try await Task.sleep(for: .milliseconds(5)) }
                let host = try await victim(asked)
                host.kill()
                answer.state.withLock { $0.killed = host.name }
                Terminal.write("\n   -- kill -9 \(host.name) --\n   ")
            }
            group.addTask {
                let request: JSON = [
                    "model": "igris-recall", "stream": true, "temperature": 0, "conversation": "demo",
                    "messages": [["role": "user", "content": .string(question)]],
                ]
                do {
                    try await answer.read(asked.client, .post, "/v1/chat/completions", request, behind: nil)
                } catch  where answer.killed == asked.name {
                    // Its connection broke, as it had to.
                }
            }
            try await group.waitForAll()
        }
        Terminal.write("\n")
        return answer
    }

    /// Takes the rest from another host.
    func finish(at host: DemoHost) async throws {
        Terminal.write("   ")
        try await read(host.client, .get, "/v1/streams/\(id)", nil, behind: text.utf8.count)
        Terminal.write("\n")
    }

    private func read(
        _ client: DaemonClient, _ method: DaemonClient.Method, _ path: String, _ request: JSON?, behind known: Int?
    ) async throws {
        var events = EventStream()
        var refusal: [UInt8] = []
        let status = try await client.exchange(
            method, path, request, headers: known.map { [("last-event-id", "\($0)")] } ?? []
        ) { status, bytes in
            guard status == 200 else {
                refusal += bytes
                return
            }
            for event in try events.receive(bytes) where event != "[DONE]" {
                let chunk = try JSON.parse(event)
                if let failure = chunk["error"]?["message"]?.string { throw RuntimeError(.engineFailed, failure) }
                if let piece = chunk["choices"]?.array?.first?["delta"]?["content"]?.string {
                    Terminal.write(untrusted: piece)
                    state.withLock { state in
                        state.text += piece
                        state.id = chunk["id"]?.string ?? state.id
                    }
                }
            }
        }
        guard status == 200 else { throw DaemonClient.Reply.error(status: status, try? JSON.parse(refusal)) }
    }
}
