import Dispatch

/// Runs an actor on one dispatch queue, so that the sources of that queue (descriptors, timers) may call into the
/// actor at once (`assumeIsolated`), and so that what blocks there blocks nobody else.
final class QueueExecutor: SerialExecutor {
    let queue: DispatchQueue

    init(_ label: String) { queue = DispatchQueue(label: label) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    func checkIsolated() { dispatchPrecondition(condition: .onQueue(queue)) }
}
