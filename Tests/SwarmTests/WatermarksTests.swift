import Testing

@testable import Swarm

@Suite struct WatermarksTests {
    private static let mega: UInt64 = 1 << 20

    private func disk(_ free: UInt64, of size: UInt64 = 10_000) -> Watermarks.Sample {
        Watermarks.Sample(diskFree: free * Self.mega, diskSize: size * Self.mega)
    }

    @Test func `A disk below its reserve is low until there is a quarter more than that`() {
        var marks = Watermarks(Watermarks.Marks(diskReserve: 64 * Self.mega))
        #expect(marks.observe(disk(64)).isEmpty)
        #expect(marks.observe(disk(63)) == [.diskLow(true)])
        #expect(marks.observe(disk(79)).isEmpty && marks.isDiskLow)
        #expect(marks.observe(disk(80)) == [.diskLow(false)])
        #expect(marks.observe(disk(65)).isEmpty && !marks.isDiskLow)
    }

    @Test func `A small disk keeps an eighth of itself`() {
        var marks = Watermarks(Watermarks.Marks(diskReserve: 64 * Self.mega))
        #expect(marks.observe(disk(3, of: 16)).isEmpty)
        #expect(marks.observe(disk(1, of: 16)) == [.diskLow(true)])
        #expect(marks.diskReserve == 2 * Self.mega)
    }

    @Test func `What is not measured or not asked for is never low`() {
        var marks = Watermarks(Watermarks.Marks(diskReserve: 64 * Self.mega, residentLimit: 100))
        #expect(marks.observe(disk(1)) == [.diskLow(true)])
        #expect(marks.observe(Watermarks.Sample()) == [.diskLow(false)])
        var open = Watermarks(Watermarks.Marks())
        #expect(open.observe(Watermarks.Sample(diskFree: 0, diskSize: 9, resident: .max)).isEmpty)
    }

    @Test func `The daemon's memory is too much above its limit and until an eighth below it`() {
        var marks = Watermarks(Watermarks.Marks(residentLimit: 800))
        #expect(marks.observe(Watermarks.Sample(resident: 800)).isEmpty)
        #expect(marks.observe(Watermarks.Sample(resident: 801)) == [.memoryLow(true)])
        #expect(marks.observe(Watermarks.Sample(resident: 701)).isEmpty)
        #expect(marks.observe(Watermarks.Sample(resident: 700)) == [.memoryLow(false)])
    }

    @Test(arguments: [(UInt64(2_000), UInt64(40)), (32_000, 128)])
    func `The machine's memory is low below a fiftieth, at most 128 MiB`(size: UInt64, mark: UInt64) {
        var marks = Watermarks(Watermarks.Marks())
        func free(_ free: UInt64) -> Watermarks.Sample {
            Watermarks.Sample(memoryFree: free * Self.mega, memorySize: size * Self.mega)
        }
        #expect(marks.observe(free(mark)).isEmpty)
        #expect(marks.observe(free(mark - 1)) == [.memoryLow(true)])
        #expect(marks.observe(free(mark * 5 / 4 - 1)).isEmpty)
        #expect(marks.observe(free(mark * 5 / 4)) == [.memoryLow(false)])
    }

    @Test func `No measure makes it trap`() {
        var marks = Watermarks(Watermarks.Marks(diskReserve: .max, residentLimit: .max))
        for value in [UInt64.min, 1, .max / 2, .max] {
            _ = marks.observe(
                Watermarks.Sample(
                    diskFree: value, diskSize: .max, memoryFree: value, memorySize: .max, resident: value))
        }
    }
}
