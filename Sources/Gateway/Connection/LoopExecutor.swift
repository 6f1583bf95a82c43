import NIOCore
import NIOPosix
import Synchronization

/// Runs the tasks of an event loop's connections on that loop: what a small request does between its last byte and its
/// answer's first wakes no other thread. Whatever may take long belongs on the pool instead.
///
/// A job that another one leads to runs after it, in the same turn of the loop: an answer takes some forty of them, and
/// a place in the loop's own queue costs more than most. What is written to a connection must be written on its loop
/// therefore (``LoopWriter``): from another thread it would stand in that queue, and be overtaken.
final class LoopExecutor: TaskExecutor {
    /// The loop looks after its other connections after so many jobs.
    private static let jobsAtOnce = 256

    private struct Turn {
        private static let kept = 1_024

        var jobs: [UnownedJob] = []
        var next = 0
        /// Somebody runs them, or will.
        var isDue = false

        mutating func take() -> UnownedJob? {
            guard jobs.indices.contains(next) else {
                jobs.removeAll(keepingCapacity: true)
                next = 0
                isDue = false
                return nil
            }
            // A queue that never runs empty must not keep all that ever stood in it.
            if next > Self.kept, next > jobs.count / 2 {
                jobs.removeFirst(next)
                next = 0
            }
            defer { next += 1 }
            return jobs[next]
        }
    }

    private let loop: any EventLoop
    private let turn = Mutex(Turn())

    private init(_ loop: any EventLoop) { self.loop = loop }

    /// Of every loop of `group`, by the loop.
    static func all(of group: MultiThreadedEventLoopGroup) -> [ObjectIdentifier: LoopExecutor] {
        Dictionary(group.makeIterator().map { (ObjectIdentifier($0), LoopExecutor($0)) }) { first, _ in first }
    }

    /// Whether the caller runs on the loop.
    var isHere: Bool { loop.inEventLoop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        guard loop.inEventLoop else {
            return loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
        }
        let isFirst = turn.withLock { turn in
            turn.jobs.append(job)
            defer { turn.isDue = true }
            return !turn.isDue
        }
        if isFirst { loop.execute { self.run() } }
    }

    private func run() {
        for _ in 0..<Self.jobsAtOnce {
            guard let job = turn.withLock({ $0.take() }) else { return }
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
        loop.execute { self.run() }
    }
}
