import NIOCore
import NIOPosix
import Synchronization

/// Runs the tasks of an event loop's connections on that loop: what a small request does between its last byte and its
/// answer's first wakes no other thread. Whatever may take long belongs on the pool instead.
final class LoopExecutor: TaskExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        /// The loop has been asked to run them.
        var isScheduled = false
    }

    /// So many jobs, then the loop looks at its sockets again.
    private static let turn = 256

    private let loop: any EventLoop
    private let state = Mutex(State())

    private init(_ loop: any EventLoop) { self.loop = loop }

    /// Of every loop of `group`, by the loop.
    static func all(of group: MultiThreadedEventLoopGroup) -> [ObjectIdentifier: LoopExecutor] {
        Dictionary(group.makeIterator().map { (ObjectIdentifier($0), LoopExecutor($0)) }) { first, _ in first }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let isFirst = state.withLock { state in
            state.jobs.append(job)
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if isFirst { loop.execute { self.run() } }
    }

    private func run() {
        var count = 0
        while count < Self.turn {
            // Those that come meanwhile are the next round's.
            let jobs = state.withLock { state in
                let jobs = state.jobs
                state.jobs = []
                state.isScheduled = !jobs.isEmpty
                return jobs
            }
            if jobs.isEmpty { return }
            for job in jobs { job.runSynchronously(on: asUnownedTaskExecutor()) }
            count += jobs.count
        }
        loop.execute { self.run() }
    }
}
