import NIOCore
import NIOPosix

/// Runs the tasks of an event loop's connections on that loop: what a small request does between its last byte and its
/// answer's first wakes no other thread. Whatever may take long belongs on the pool instead.
///
/// Jobs stand in the loop's own queue, each in its turn: what another thread has written to a connection stands there
/// too, and must not be overtaken by what is written on the loop after it.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    private init(_ loop: any EventLoop) { self.loop = loop }

    /// Of every loop of `group`, by the loop.
    static func all(of group: MultiThreadedEventLoopGroup) -> [ObjectIdentifier: LoopExecutor] {
        Dictionary(group.makeIterator().map { (ObjectIdentifier($0), LoopExecutor($0)) }) { first, _ in first }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
