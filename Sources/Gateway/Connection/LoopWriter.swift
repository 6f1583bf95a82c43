import NIOCore
import NIOHTTPTypes

/// Writes to one connection, on its loop, whatever thread the caller is on: each write behind the one before it.
struct LoopWriter: Sendable {
    private let outbound: NIOAsyncChannelOutboundWriter<HTTPResponsePart>
    private let executor: LoopExecutor?

    init(_ outbound: NIOAsyncChannelOutboundWriter<HTTPResponsePart>, on executor: LoopExecutor?) {
        self.outbound = outbound
        self.executor = executor
    }

    func write(_ part: HTTPResponsePart) async throws { try await write(contentsOf: CollectionOfOne(part)) }

    func write(contentsOf parts: some Sequence<HTTPResponsePart> & Sendable) async throws {
        guard let executor, !executor.isHere else { return try await outbound.write(contentsOf: parts) }
        try await withTaskExecutorPreference(executor) { try await outbound.write(contentsOf: parts) }
    }
}
