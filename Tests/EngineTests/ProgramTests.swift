import Core
import Testing

@testable import Engine

@Suite("What a program says about itself")
struct ProgramTests {
    @Test(
        "both forms of a version are read",
        arguments: [
            ("version: 10235 (221f0f635)\nbuilt with cc", "b10235-221f0f635"),
            ("version: 0.7.0 (build 11669, commit Debian)\n", "b11669-Debian"),
            ("version: 0.2.0-dev (build 10709, commit 9a9394a89)", "b10709-9a9394a89"), ("hello", "unknown"),
            ("", "unknown"),
            ("version:", "unknown"),
        ])
    func versions(text: String, build: String) {
        #expect(ProgramProbe.build(in: text) == build)
    }

    @Test("flags are found in a help text, values are not")
    func flags() {
        let flags = ProgramProbe.flags(
            in: "-e,    --escape, --no-escape   whether\n-cnv, -no-cnv\n--rpc SERVERS  comma-separated\n[--x] -")
        #expect(flags == ["-e", "--escape", "--no-escape", "-cnv", "-no-cnv", "--rpc", "--x"])
    }

    @Test("counts come from the performance block")
    func usage() {
        let log = """
            0.00.321.259 I common_perf_print:        load time =     186.27 ms
            0.00.321.290 I common_perf_print: prompt eval time =       4.81 ms /    95 tokens (    0.05 ms per token)
            0.00.321.319 I common_perf_print:        eval time =       6.53 ms /    18 runs   (    0.36 ms per token)
            0.00.321.355 I common_perf_print:       total time =      14.00 ms /   113 tokens
            """
        let report = CompletionReport(exit: .exited(0), log: log)
        #expect(report.usage == TokenUsage(promptTokens: 95, completionTokens: 19))
        #expect(CompletionReport(exit: .exited(0), log: "eval time = x / y runs").usage == nil)
    }

    @Test(
        "exits are told apart",
        arguments: [
            (
                ChildExit.exited(1), "E x: prompt is too long (9000 tokens, max 2044)",
                RuntimeError.Code.contextLengthExceeded
            ),
            (.exited(1), "E gguf_init_from_file: failed to open GGUF file 'm'", .unavailable),
            (.exited(1), "error: invalid argument: --bogus-flag", .configuration), (.exited(130), "", .engineFailed),
            (.signalled(6), "", .engineFailed), (.exited(0), "", .engineFailed),
        ])
    func exits(exit: ChildExit, log: String, code: RuntimeError.Code) {
        let error = CompletionReport(exit: exit, log: log).failure(of: "llama-completion", model: "m.gguf")
        #expect(error.code == code)
        #expect(!error.message.contains("'m'"))
    }

    @Test("a program that ended without a word over a long prompt found it too long")
    func lostWords() {
        func code(_ exit: ChildExit, _ log: String) -> RuntimeError.Code {
            CompletionReport(exit: exit, log: log).failure(of: "x", model: "m", seemsTooLong: true).code
        }
        #expect(code(.exited(1), "threadpool init, n_threads = 2") == .contextLengthExceeded)
        #expect(code(.exited(1), "failed to load model") == .unavailable)
        #expect(code(.signalled(6), "") == .engineFailed)
    }

    @Test("every sampling field is passed, and only flags that the program knows")
    func arguments() {
        var request = GenerationRequest(messages: [Message(.user, "x")], maximumTokens: 9)
        let all: Set<String> = [
            "-m", "-c", "-f", "-n", "-i", "--in-prefix", "-t", "--temp", "--top-k", "--top-p", "--min-p", "--seed",
            "--presence-penalty", "--frequency-penalty",
        ]
        let builder = CompletionArguments(
            modelPath: "m", contextLength: 64, threads: 3, defaults: .greedy, flags: all)
        #expect(
            builder(request, promptPath: "p", marker: "k") == [
                "-m", "m", "-c", "64", "-f", "p", "-n", "9", "-i", "--in-prefix", "k", "-t", "3", "--temp", "0.0000",
                "--top-k", "0", "--top-p", "1.0000", "--min-p", "0.0000", "--presence-penalty", "0.0000",
                "--frequency-penalty", "0.0000",
            ])
        request.maximumTokens = 5_000
        request.sampling = Sampling(
            temperature: 0.75, topP: 0.5, topK: 7, minP: 0.05, seed: .max, presencePenalty: -1.5, frequencyPenalty: 2)
        #expect(
            builder(request, promptPath: "p", marker: "k").dropFirst(6) == [
                "-n", "64", "-i", "--in-prefix", "k", "-t", "3", "--temp", "0.7500", "--top-k", "7", "--top-p",
                "0.5000",
                "--min-p", "0.0500", "--presence-penalty", "-1.5000", "--frequency-penalty", "2.0000", "--seed", "0",
            ])
        #expect(builder.samplingFields.count == 7)
    }

    @Test("small models compute on one thread; hardware threads are no cores")
    func threads() {
        #expect(Processors.threads(forWeightBytes: 1_000_000) == 1)
        #expect(Processors.threads(forWeightBytes: 4_000_000_000) == max(1, Processors.physicalCores - 1))
        let text = """
            processor\t: 0
            physical id\t: 0
            core id\t\t: 0

            processor\t: 1
            physical id\t: 0
            core id\t\t: 0

            processor\t: 2
            physical id\t: 0
            core id\t\t: 1
            """
        #expect(Processors.cores(in: text) == 2)
        #expect(Processors.cores(in: "processor: 0") == nil)
    }

    @Test("lines are cut the same in every division of the bytes, and are bounded")
    func lines() throws {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<100 {
            var splitter = LineSplitter(limit: 10)
            var lines: [[UInt8]] = []
            var rest = Array("one\n\ntwo\nthree three\n".utf8)[...]
            let result = Result {
                while !rest.isEmpty {
                    let count = Int.random(in: 1...rest.count, using: &random)
                    lines += try splitter.append(Array(rest.prefix(count)))
                    rest = rest.dropFirst(count)
                }
            }
            #expect(throws: RuntimeError.self) { try result.get() }
        }
        var splitter = LineSplitter(limit: 11)
        #expect(
            try splitter.append(Array("one\n\ntwo\nthree three\nfo".utf8)).map { String(decoding: $0, as: UTF8.self) }
                == ["one", "", "two", "three three"])
        #expect(try splitter.append(Array("ur\n".utf8)) == [Array("four".utf8)])
    }

    @Test("no line of rubbish is taken for a message, and none traps")
    func rubbish() {
        var random = SeededGenerator(seed: 11)
        let valid = Array(
            #"{"event":"done","id":"r1","reason":"stop","prompt_tokens":-5,"completion_tokens":1e300}"#.utf8)
        for _ in 0..<2_000 {
            var line = valid
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                line[Int.random(in: line.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? EngineMessage(line: line)
        }
        #expect(throws: RuntimeError.self) { try EngineMessage(line: Array("{}".utf8)) }
        #expect(throws: RuntimeError.self) { try EngineMessage(line: [0xFF]) }
    }
}
