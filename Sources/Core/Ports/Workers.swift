/// Programs on other hosts that compute a part of a model too large for this one: how an engine comes by them.
package struct WorkerSource: Sendable {
    /// Borrows the workers for as long as `use` runs, and returns what that returns. `build` is that of the program
    /// that is going to use them: theirs must be the same. Throws ``RuntimeError`` when they cannot be had, and then
    /// `use` was not called.
    package var borrow:
        @Sendable (_ build: String, _ use: @escaping @Sendable (BorrowedWorkers) async -> String) async throws -> String

    package init(
        borrow:
            @escaping @Sendable (
                _ build: String, _ use: @escaping @Sendable (BorrowedWorkers) async -> String
            ) async throws -> String
    ) {
        self.borrow = borrow
    }
}

package struct BorrowedWorkers: Sendable {
    /// The names of their hosts.
    package var hosts: [String]
    /// Where they are reached, in the same order: on this machine's loopback, and only by processes of its user.
    package var addresses: [NetworkAddress]
    /// Says why when one of them is lost. One reader.
    package var losses: AsyncStream<String>

    package init(hosts: [String], addresses: [NetworkAddress], losses: AsyncStream<String>) {
        self.hosts = hosts
        self.addresses = addresses
        self.losses = losses
    }
}

/// A program of this host that it lends to others of its swarm.
package struct LentWorker: Sendable {
    /// Which build it is. Throws ``RuntimeError`` where that cannot be told.
    package var build: @Sendable () async throws -> String
    /// Runs it for as long as `use` does, which is told its port on loopback. Returns why it ended by itself, nil where
    /// `use` was done first. Throws ``RuntimeError`` when it does not start.
    package var run: @Sendable (_ use: @escaping @Sendable (_ port: Int) async -> Void) async throws -> String?

    package init(
        build: @escaping @Sendable () async throws -> String,
        run: @escaping @Sendable (_ use: @escaping @Sendable (_ port: Int) async -> Void) async throws -> String?
    ) {
        self.build = build
        self.run = run
    }
}

/// Whose workers a model wants.
package enum WorkerWish: Hashable, Sendable {
    /// Those of hosts with these names, all of them.
    case named([String])
    /// Those of so many hosts that lend theirs.
    case any(Int)

    package var count: Int {
        switch self {
        case .named(let names): names.count
        case .any(let count): count
        }
    }
}
