package import Core
package import Logging
internal import Metrics
package import Swarm
internal import Synchronization

/// Refuses new work while the store's disk or the machine's memory is nearly used up, and takes it again by itself: the
/// shell of ``Watermarks``. What has begun goes on: the reserve is there for that.
package final class Pressure: Sendable {
    private let state: Mutex<Watermarks>
    private let measure: @Sendable () -> Watermarks.Sample
    private let relieve: @Sendable () -> Void
    private let log: Logger
    private let readOnly = Gauge(label: "igris_read_only")
    private let memoryShort = Gauge(label: "igris_memory_short")
    private let refused = (
        disk: Counter(label: "igris_pressure_refusals_total", dimensions: [("resource", "disk")]),
        memory: Counter(label: "igris_pressure_refusals_total", dimensions: [("resource", "memory")])
    )

    /// - Parameters:
    ///   - measure: looks at the disk and at memory; waits for nothing.
    ///   - relieve: gives memory back that nothing is in.
    package init(
        _ marks: Watermarks.Marks, log: Logger, measure: @escaping @Sendable () -> Watermarks.Sample,
        relieve: @escaping @Sendable () -> Void = {}
    ) {
        state = Mutex(Watermarks(marks))
        self.measure = measure
        self.relieve = relieve
        self.log = log
        look()
    }

    /// Looks now and then until the task is cancelled; `writer` takes nothing from peers while the disk is low.
    package func run(_ writer: LogWriter) async {
        var isPausing = false
        while !Task.isCancelled {
            look()
            if isMemoryLow { relieve() }
            if isDiskLow != isPausing {
                isPausing.toggle()
                await writer.step(.pausing(isPausing))
            }
            try? await Task.sleep(for: Watermarks.interval)  // cancelled: the loop ends
        }
    }

    package var isDiskLow: Bool { state.withLock(\.isDiskLow) }
    package var isMemoryLow: Bool { state.withLock(\.isMemoryLow) }

    /// Throws ``RuntimeError`` `.storageFull` while nothing new is kept.
    package func requireDisk() throws(RuntimeError) {
        guard isDiskLow else { return }
        // There may be room again since the last look.
        look()
        guard isDiskLow else { return }
        refused.disk.increment()
        throw RuntimeError(
            .storageFull,
            "\(diskWords), so nothing new is kept until there is room: free space there, or set context.max_bytes; with "
                + "\"store\": false requests are answered without being kept")
    }

    /// Throws ``RuntimeError`` `.unavailable` while nothing new is begun.
    package func requireMemory() throws(RuntimeError) {
        guard isMemoryLow else { return }
        refused.memory.increment()
        throw RuntimeError(.unavailable, "\(memoryWords): try again later", retryAfter: .seconds(5))
    }

    /// What is short at present, each with what to do.
    package var reasons: [String] {
        var reasons: [String] = []
        if isDiskLow {
            reasons.append(
                "\(diskWords): this host keeps nothing new and takes nothing from others until there is room; free "
                    + "space there, or set context.max_bytes")
        }
        if isMemoryLow {
            reasons.append(
                "\(memoryWords); end other programs, or give it more (node.memory_limit, MemoryMax of its unit)")
        }
        return reasons
    }

    private func look() {
        let (changes, isDiskLow, isMemoryLow) = state.withLock { marks in
            let changes = marks.observe(measure())
            return (changes, marks.isDiskLow, marks.isMemoryLow)
        }
        readOnly.record(isDiskLow ? 1 : 0)
        memoryShort.record(isMemoryLow ? 1 : 0)
        for change in changes {
            switch change {
            case .diskLow(true):
                log.error("nothing new is kept: the disk is nearly full", metadata: ["disk": "\(diskWords)"])
            case .diskLow(false): log.notice("the disk has room again: turns are kept")
            case .memoryLow(true): log.error("nothing new is begun", metadata: ["memory": "\(memoryWords)"])
            case .memoryLow(false): log.notice("there is memory again: requests are taken")
            }
        }
    }

    private var diskWords: String {
        let marks = state.withLock { $0 }
        return "the disk of the store is nearly full (\(Self.size(marks.latest.diskFree)) free, "
            + "\(Self.size(marks.diskReserve)) are kept for what has begun, context.disk_reserve)"
    }

    private var memoryWords: String {
        let marks = state.withLock { $0 }
        return "this host is short of memory (\(Self.size(marks.latest.resident)) taken by the daemon of "
            + "\(Self.size(marks.marks.residentLimit)), \(Self.size(marks.latest.memoryFree)) available on the machine) "
            + "and begins nothing new"
    }

    private static func size(_ bytes: UInt64?) -> String {
        guard let bytes else { return "?" }
        return bytes < 10 << 20 ? "\(bytes >> 10) KiB" : "\(bytes >> 20) MiB"
    }
}
