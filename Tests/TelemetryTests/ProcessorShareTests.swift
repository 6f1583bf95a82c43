import Testing

@testable import Telemetry

@Suite struct ProcessorShareTests {
    @Test func `Busy is what is neither idle nor waits for the disk`() throws {
        let before = try #require(ProcessorShare.Ticks("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1 1"))
        let after = try #require(ProcessorShare.Ticks("cpu  160 0 80 880 80 0 0 0 60 0\n"))
        #expect(abs(try #require(after.busy(since: before)) - 0.45) < 1e-9)
        #expect(before.busy(since: after) == nil && before.busy(since: before) == nil)
    }

    @Test(arguments: ["", "cpu", "cpu 1 2 3", "intr 1 2 3 4 5 6 7"]) func `What is no such line is nothing`(
        _ text: String
    ) {
        #expect(ProcessorShare.Ticks(text) == nil)
    }
}
