import Core
import Glibc
import Logging
import Testing

@testable import Engine

/// Starts engines on `Tests/Fixtures/fault_engine.py`.
enum FaultEngine {
    static func lines(
        _ mode: String, bounds: EngineBounds = quick, state: StateFile? = nil, environment: [String: String] = [:]
    ) async -> JSONLinesEngine {
        let engine = JSONLinesEngine(
            name: "fault", command: [python, Repository.path("Tests/Fixtures/fault_engine.py"), "lines:\(mode)"],
            environment: variables(state).merging(environment) { $1 }, bounds: bounds, log: quiet)
        await engine.start()
        return engine
    }

    static func completion(
        _ mode: String, bounds: EngineBounds = quick, state: StateFile? = nil, template: String? = nil,
        contextLength: Int? = nil
    ) async -> CompletionEngine {
        let engine = CompletionEngine(
            name: "fault",
            command: [python, Repository.path("Tests/Fixtures/fault_engine.py"), "completion:\(mode)"],
            environment: variables(state), modelPath: Repository.recallModel, contextLength: contextLength,
            template: template, bounds: bounds, log: quiet)
        await engine.start()
        return engine
    }

    static func server(
        _ mode: String, bounds: EngineBounds = quick, state: StateFile? = nil
    ) async -> LlamaServerEngine {
        var options = LlamaServerEngine.Options(
            name: "fault", command: [python, Repository.path("Tests/Fixtures/fault_engine.py"), "server:\(mode)"],
            modelPath: Repository.recallModel)
        options.environment = variables(state)
        let engine = LlamaServerEngine(options, bounds: bounds, log: quiet)
        await engine.start()
        return engine
    }

    /// The system's own where there is one: others may be shims that start shells.
    private static let python = access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3"

    /// Delays that do not hold a test up; everything else as in production.
    static var quick: EngineBounds {
        var bounds = EngineBounds()
        bounds.restartDelay = (.milliseconds(5), .milliseconds(20))
        return bounds
    }

    static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func variables(_ state: StateFile?) -> [String: String] {
        var variables = ["PATH": getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"]
        if let state { variables["FAULT_STATE"] = state.path }
        return variables
    }
}

/// Where a fault engine counts its starts.
final class StateFile: Sendable {
    let path = "/tmp/igris-fault-\(getpid())-\(UInt64.random(in: .min ... .max))"

    var starts: Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    deinit { unlink(path) }
}

enum Repository {
    static func path(_ relative: String) -> String {
        let parts = #filePath.split(separator: "/").dropLast(3)
        return "/" + parts.joined(separator: "/") + "/" + relative
    }

    static let recallModel = path("Models/igris-recall/igris-recall-q8_0.gguf")
}

/// A whole answer.
struct CollectedAnswer: Hashable {
    var text = ""
    var reason: FinishReason?
    var usage: TokenUsage?
}

extension InferenceEngine {
    func answer(_ text: String = "hello", maximumTokens: Int = 64, stop: [String] = []) async throws -> CollectedAnswer
    {
        try await answer(GenerationRequest(messages: [Message(.user, text)], maximumTokens: maximumTokens, stop: stop))
    }

    func answer(_ request: GenerationRequest) async throws -> CollectedAnswer {
        try await generate(request).collected()
    }
}

extension EventStream<GenerationEvent> {
    func collected() async throws -> CollectedAnswer {
        var answer = CollectedAnswer()
        for try await event in self {
            switch event {
            case .text(let text): answer.text += text
            case .finished(let reason, let usage):
                #expect(answer.reason == nil, "one end only")
                answer.reason = reason
                answer.usage = usage
            case .reasoning, .toolCall, .logprobs, .moved: Issue.record("nobody asked for that")
            }
        }
        return answer
    }
}

extension GenerationRequest {
    static let tick = GenerationRequest(messages: [Message(.user, "tick")], maximumTokens: 1_000)
}

/// Runs `body` and returns the ``RuntimeError`` it must throw.
func thrownError(_ body: () async throws -> Void) async -> RuntimeError? {
    do {
        try await body()
        Issue.record("nothing was thrown")
    } catch let error as RuntimeError {
        return error
    } catch {
        Issue.record("another error was thrown: \(error)")
    }
    return nil
}

/// Reads the first event of an answer, waits for `pause`, then reads to the end, which must be a ``RuntimeError``.
func readLate(_ stream: GenerationStream, after pause: () async throws -> Void) async throws -> (
    error: RuntimeError?, bytes: Int
) {
    var bytes = 0
    do {
        var isFirst = true
        for try await event in stream {
            if case .text(let text) = event { bytes += text.utf8.count }
            if isFirst { try await pause() }
            isFirst = false
        }
        Issue.record("nothing was thrown")
    } catch let error as RuntimeError {
        return (error, bytes)
    } catch {
        Issue.record("another error was thrown: \(error)")
    }
    return (nil, bytes)
}

/// Waits until a state that nothing announces is reached.
func reach(_ condition: () async throws -> Bool) async throws {
    while !(try await condition()) { try await Task.sleep(for: .milliseconds(1)) }
}
