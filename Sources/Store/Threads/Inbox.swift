import Core
import Glibc

/// Jobs on their way from tasks to the threads that may block. Bounded: a full one refuses.
final class Inbox<Job: Sendable>: @unchecked Sendable {
    // Sendable: `jobs` and `isFinished` are touched only between lock and unlock of `mutex`, whose memory and that of
    // `condition` stay where they are until the last reference goes.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let bound: Int
    private var jobs: [Job] = []
    private var isFinished = false
    /// So many jobs wake the thread that waits.
    private var wanted = 1

    enum Taken {
        case jobs([Job])
        /// The time passed without a job.
        case idle
        /// Finished, and all jobs were taken.
        case end
    }

    init(bound: Int) {
        self.bound = bound
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Nil when the job was accepted; else why not.
    func put(_ job: Job) -> RuntimeError? {
        locked {
            if isFinished { return RuntimeError(.unavailable, "the store is closed") }
            if jobs.count >= bound {
                return RuntimeError(.overloaded, "too much is waiting for the disk; try again", retryAfter: .seconds(1))
            }
            jobs.append(job)
            if jobs.count >= wanted { pthread_cond_signal(condition) }
            return nil
        }
    }

    /// No job is accepted any more; those accepted are still handed out.
    func finish() {
        locked {
            isFinished = true
            _ = pthread_cond_broadcast(condition)
        }
    }

    /// Waits for jobs and takes at most `limit` of them; waits at most `patience`, where given.
    ///
    /// - Parameter gathering: once there is a job, so many are waited for, though not longer than
    ///   ``Limits/storeGathering``. For one thread alone.
    func take(atMost limit: Int, patience: Duration? = nil, gathering: Int = 1) -> Taken {
        let deadline = patience.map(Self.deadline)
        return locked {
            while jobs.isEmpty {
                if isFinished { return .end }
                if !wait(until: deadline), jobs.isEmpty, !isFinished { return .idle }
            }
            if jobs.count < min(gathering, limit) {
                wanted = min(gathering, limit)
                defer { wanted = 1 }
                let deadline = Self.deadline(after: Limits.storeGathering)
                while jobs.count < wanted, !isFinished, wait(until: deadline) {}
            }
            if jobs.count <= limit {
                defer { jobs = [] }
                return .jobs(jobs)
            }
            defer { jobs.removeFirst(limit) }
            return .jobs(Array(jobs.prefix(limit)))
        }
    }

    /// With the lock held. False when the deadline has passed.
    private func wait(until deadline: timespec?) -> Bool {
        guard var deadline else { return pthread_cond_wait(condition, mutex) == 0 }
        return pthread_cond_timedwait(condition, mutex, &deadline) != ETIMEDOUT
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    private static func deadline(after patience: Duration) -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let nanoseconds = time.tv_nsec + Int(patience / .nanoseconds(1)) % 1_000_000_000
        time.tv_sec += Int(patience.components.seconds) + nanoseconds / 1_000_000_000
        time.tv_nsec = nanoseconds % 1_000_000_000
        return time
    }
}
