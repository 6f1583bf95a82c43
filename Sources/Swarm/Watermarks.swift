/// Whether what this host may still fill, of the store's disk and of memory, has become too little for new work, with
/// some room between the mark at which that begins and the one at which it ends, so that one request more or less does
/// not switch it to and fro.
package struct Watermarks: Hashable, Sendable {
    package struct Marks: Hashable, Sendable {
        /// Free bytes that the store's disk keeps for what has begun; a smaller disk keeps an eighth of itself. Nil: none.
        package var diskReserve: UInt64?
        /// Resident bytes of the daemon, its engines not counted. Nil: as many as there are.
        package var residentLimit: UInt64?

        package init(diskReserve: UInt64? = nil, residentLimit: UInt64? = nil) {
            self.diskReserve = diskReserve
            self.residentLimit = residentLimit
        }
    }

    /// In bytes; nil where it could not be measured, which counts as enough.
    package struct Sample: Hashable, Sendable {
        package var diskFree: UInt64?
        package var diskSize: UInt64?
        package var memoryFree: UInt64?
        package var memorySize: UInt64?
        package var resident: UInt64?

        package init(
            diskFree: UInt64? = nil, diskSize: UInt64? = nil, memoryFree: UInt64? = nil, memorySize: UInt64? = nil,
            resident: UInt64? = nil
        ) {
            self.diskFree = diskFree
            self.diskSize = diskSize
            self.memoryFree = memoryFree
            self.memorySize = memorySize
            self.resident = resident
        }
    }

    package enum Change: Hashable, Sendable {
        case diskLow(Bool)
        case memoryLow(Bool)
    }

    /// Between two samples: what ends is noticed within this.
    package static let interval = Duration.seconds(1)
    /// Of the machine's memory that must be available: a fiftieth, and no more than this.
    private static let mostMemory: UInt64 = 128 * 1024 * 1024

    package let marks: Marks
    /// Nothing new is kept.
    package private(set) var isDiskLow = false
    /// Nothing new is begun.
    package private(set) var isMemoryLow = false
    package private(set) var latest = Sample()

    package init(_ marks: Marks) { self.marks = marks }

    package mutating func observe(_ sample: Sample) -> [Change] {
        latest = sample
        var changes: [Change] = []
        let isDiskLow = isShort(of: sample.diskFree, reserve: diskReserve, wasShort: isDiskLow)
        if isDiskLow != self.isDiskLow { changes.append(.diskLow(isDiskLow)) }
        self.isDiskLow = isDiskLow
        let isMemoryLow =
            isShort(of: sample.memoryFree, reserve: memoryReserve, wasShort: isMemoryLow) || isTooLarge(sample.resident)
        if isMemoryLow != self.isMemoryLow { changes.append(.memoryLow(isMemoryLow)) }
        self.isMemoryLow = isMemoryLow
        return changes
    }

    /// What the disk of the latest sample keeps free.
    package var diskReserve: UInt64? {
        marks.diskReserve.map { min($0, latest.diskSize.map { $0 / 8 } ?? .max) }
    }

    private var memoryReserve: UInt64? { latest.memorySize.map { min(Self.mostMemory, $0 / 50) } }

    private func isShort(of free: UInt64?, reserve: UInt64?, wasShort: Bool) -> Bool {
        guard let free, let reserve else { return false }
        let (upper, overflow) = reserve.addingReportingOverflow(reserve / 4)
        return free < (wasShort && !overflow ? upper : reserve)
    }

    private func isTooLarge(_ resident: UInt64?) -> Bool {
        guard let resident, let limit = marks.residentLimit else { return false }
        return resident > (isMemoryLow ? limit / 8 * 7 : limit)
    }
}
