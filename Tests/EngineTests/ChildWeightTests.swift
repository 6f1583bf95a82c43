import Glibc
import Synchronization
import Testing

@testable import Engine

@Suite("The scheduling weight of children")
struct ChildWeightTests {
    @Test(
        "an engine, and what it starts itself, runs at a lower weight than we do",
        arguments: [["nice"], ["sh", "-c", "nice"]])
    func weight(command: [String]) async throws {
        let output = Mutex("")
        let (_, exit) = try await withChild(
            try ChildCommand(command, environment: [:]), stderr: TailBuffer()
        ) { child in
            try await child.readOutput { bytes in output.withLock { $0 += String(decoding: bytes, as: UTF8.self) } }
        }
        #expect(exit == .exited(0))
        let ours = Int(getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0))
        #expect(output.withLock { $0 } == "\(min(19, ours + ChildCommand.niceness))\n")
    }
}
