import Core
import Glibc
import Synchronization
import Testing

@testable import BuiltinModel

/// The program in a thread of its own, at the other end of two pipes.
private final class RunningProgram: Sendable {
    private let input: Int32
    private let output: Int32
    private let state = Mutex<(buffer: [UInt8], code: Int32?)>(([], nil))
    private let thread: Mutex<pthread_t?>

    private final class Start: Sendable {
        let model: ModelSource
        let input: Int32
        let output: Int32
        let program: RunningProgram

        init(_ model: ModelSource, _ input: Int32, _ output: Int32, _ program: RunningProgram) {
            (self.model, self.input, self.output, self.program) = (model, input, output, program)
        }
    }

    init(_ model: ModelSource) throws {
        func ends() throws -> (read: Int32, write: Int32) {
            var pair: [Int32] = [0, 0]
            try #require(Glibc.pipe(&pair) == 0)
            return (pair[0], pair[1])
        }
        let (toChild, fromChild) = (try ends(), try ends())
        input = toChild.write
        output = fromChild.read
        thread = Mutex(nil)
        let start = Unmanaged.passRetained(Start(model, toChild.read, fromChild.write, self))
        var handle = pthread_t()
        let result = pthread_create(
            &handle, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                let code = EngineProgram.run(model: start.model, slots: 2, input: start.input, output: start.output)
                start.program.state.withLock { $0.code = code }
                close(start.input)
                close(start.output)
                return nil
            }, start.toOpaque())
        try #require(result == 0)
        thread.withLock { $0 = handle }
    }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        #expect(write(input, bytes, bytes.count) == bytes.count)
    }

    /// The next line; nil at the end.
    func line() throws -> JSON? {
        while true {
            let line: [UInt8]? = state.withLock { state in
                guard let end = state.buffer.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
                defer { state.buffer.removeFirst(end + 1) }
                return Array(state.buffer[..<end])
            }
            if let line { return try JSON.parse(line) }
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = read(output, &chunk, chunk.count)
            guard count > 0 else { return nil }
            state.withLock { $0.buffer += chunk[..<count] }
        }
    }

    func closeInput() { close(input) }

    /// Waits for the end; the exit code.
    func join() -> Int32? {
        if let handle = thread.withLock({ $0 }) { pthread_join(handle, nil) }
        close(output)
        return state.withLock { $0.code }
    }
}

@Suite("The engine program", .timeLimit(.minutes(1)))
struct EngineProgramTests {
    /// A file with the random test model.
    private func modelFile() throws -> String {
        let path = "/tmp/igris-engine-test-\(getpid())-\(UInt64.random(in: 0...(.max))).gguf"
        let bytes = TestModel.writer().bytes
        let file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0o600)
        try #require(file >= 0)
        #expect(write(file, bytes, bytes.count) == bytes.count)
        close(file)
        return path
    }

    @Test("Lines go in and out; the end of input cancels what runs and ends it with 0")
    func conversation() throws {
        let path = try modelFile()
        defer { unlink(path) }
        let program = try RunningProgram(.file(path))
        #expect(try program.line()?["event"]?.string == "ready")
        program.send(#"{"op":"ping","id""#)
        program.send(#":"p1"}"# + "\nnonsense\n")
        #expect(try program.line() == ["event": "pong", "id": "p1"])
        #expect(try program.line()?["event"]?.string == "error")
        program.send(#"{"op":"generate","id":"a","messages":[{"role":"user","content":"x"}],"max_tokens":5}"# + "\n")
        var event = try #require(try program.line())
        while event["event"]?.string == "text" { event = try #require(try program.line()) }
        #expect(event["event"]?.string == "done" && event["completion_tokens"]?.integer == 5)
        program.closeInput()
        #expect(try program.line() == nil)
        #expect(program.join() == 0)
    }

    @Test("A running answer is cancelled by the end of input, and says so")
    func endOfInput() throws {
        let path = try modelFile()
        defer { unlink(path) }
        let program = try RunningProgram(.file(path))
        #expect(try program.line()?["event"]?.string == "ready")
        let orders = (0..<40).map { #"{"op":"generate","id":"r\#($0)","messages":[{"role":"user","content":"x"}]}"# }
        program.send(orders.joined(separator: "\n") + "\n")
        program.closeInput()
        var ended: Set<String> = []
        var cancelled = 0
        while let event = try program.line() {
            guard event["event"]?.string == "done", let id = event["id"]?.string else { continue }
            #expect(ended.insert(id).inserted, "\(id) ended twice")
            cancelled += event["reason"]?.string == "cancelled" ? 1 : 0
        }
        #expect(ended.count == 40)
        #expect(cancelled > 0)
        #expect(program.join() == 0)
    }

    @Test(
        "A model that cannot run is a fatal line and exit code 1",
        arguments: ["/nowhere/secret.gguf", "/dev/zero", "/tmp"])
    func fatal(path: String) throws {
        let program = try RunningProgram(.file(path))
        let line = try #require(try program.line())
        #expect(line["event"]?.string == "fatal")
        #expect(line["message"]?.string?.contains(path) == false)
        #expect(try program.line() == nil)
        #expect(program.join() == 1)
        program.closeInput()
    }

    @Test(
        "A pace or a number of slots out of range is refused",
        arguments: [(0, 1.0), (65, 1.0), (4, 0), (4, -.infinity), (4, .nan)])
    func outOfRange(slots: Int, pace: Double) {
        #expect(throws: RuntimeError.self) { try EngineProgram.start(.embedded, pace: pace, slots: slots) }
    }
}
