import Core
import GGUF
import Glibc

/// Which weights the built-in engine runs.
package enum ModelSource: Sendable {
    /// igris-recall, part of this program.
    case embedded
    /// A GGUF file: llama architecture, F32, F16 or Q8_0, byte vocabulary.
    case file(String)
}

/// `igris-runtime engine`: the built-in model as a child that speaks docs/engine-protocol.md.
///
/// One thread does everything: it looks for lines between two tokens and waits in `poll` when there is nothing to
/// write, or when the next token is not due yet.
package enum EngineProgram {
    package static let slotRange = 1...64
    package static let paceRange = 0.01...100_000.0

    /// Runs until `input` ends or `output` is closed, and blocks the thread meanwhile.
    ///
    /// - Parameters:
    ///   - pace: Tokens a second for each answer; nil is as fast as the machine allows.
    ///   - slots: How many answers are written at once.
    /// - Returns: The exit code: 0 after the end of `input`, 1 when the model cannot be run.
    package static func run(
        model source: ModelSource, pace: Double? = nil, slots: Int = 4, input: Int32 = STDIN_FILENO,
        output: Int32 = STDOUT_FILENO
    ) -> Int32 {
        // A vanished parent is told by `write`, not by a signal.
        signal(SIGPIPE, SIG_IGN)
        let session: EngineSession
        do {
            session = try start(source, pace: pace, slots: slots)
        } catch {
            _ = write(EngineSession.fatal(error), to: output)
            return 1
        }
        guard write(session.ready(), to: output) else { return 0 }
        serve(session, input: input, output: output)
        return 0
    }

    static func start(_ source: ModelSource, pace: Double?, slots: Int) throws(RuntimeError) -> EngineSession {
        guard slotRange.contains(slots), pace.map(paceRange.contains) ?? true else {
            throw RuntimeError(
                .configuration,
                "slots must be within \(slotRange.lowerBound)…\(slotRange.upperBound) and pace within "
                    + "\(paceRange.lowerBound)…\(paceRange.upperBound)")
        }
        let file: GGUFFile
        switch source {
        case .embedded: file = try EmbeddedModel.file()
        case .file(let path): file = try GGUFFile(path: path)
        }
        let model = try LlamaModel(file)
        return EngineSession(
            try Scheduler(model, slots: slots, pace: pace, entropy: { UInt64.random(in: .min ... .max) }))
    }

    private static func serve(_ session: EngineSession, input: Int32, output: Int32) {
        let clock = ContinuousClock()
        let beginning = clock.now
        var lines = LineBuffer(limit: Limits.engineLineBytes)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let now = beginning.duration(to: clock.now)
            let wake = session.wake(at: now)
            if isReadable(input, within: wake, at: now) {
                let count = read(input, buffer.baseAddress, buffer.count)
                if count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN) {
                    _ = write(session.cancelAll(), to: output)
                    return
                }
                for line in lines.append(UnsafeRawBufferPointer(rebasing: buffer[..<max(0, count)])) {
                    let reply =
                        switch line {
                        case .bytes(let bytes): session.receive(bytes)
                        case .overlong: session.receiveOverlong()
                        }
                    guard write(reply, to: output) else { return }
                }
            }
            guard write(session.advance(at: beginning.duration(to: clock.now)), to: output) else { return }
        }
    }

    /// Waits for input until there is work to do.
    private static func isReadable(_ input: Int32, within wake: Scheduler.Wake, at now: Duration) -> Bool {
        var descriptor = pollfd(fd: input, events: Int16(POLLIN), revents: 0)
        let milliseconds: Int32 =
            switch wake {
            case .now: 0
            // Rounded up. Due times are absolute: what one token comes late, the next one does not.
            case .at(let due): Int32(clamping: Int64((due - now) / .milliseconds(1)) + 1)
            case .never: -1
            }
        return poll(&descriptor, 1, milliseconds) > 0
    }

    /// Writes all of `bytes`; false when nobody reads any more.
    private static func write(_ bytes: [UInt8], to output: Int32) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.write(output, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EAGAIN {
                    var descriptor = pollfd(fd: output, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&descriptor, 1, -1)
                } else if errno != EINTR {
                    return false
                }
            }
            return true
        }
    }
}
