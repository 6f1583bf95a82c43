import Core

/// One answer of an engine that must be held while it writes, and let go of afterwards, whichever way the answer ends.
actor HeldAnswer {
    struct Hold: Sendable {
        var engine: any InferenceEngine
        /// To be called once.
        var release: @Sendable () async -> Void
    }

    private let request: GenerationRequest
    private let acquire: @Sendable () async throws -> Hold
    private var events: GenerationStream.AsyncIterator?
    private var hold: Hold?
    private var isOver = false

    /// - Parameter acquire: waits for the engine, when the reader wants the first event.
    init(_ request: GenerationRequest, acquire: @escaping @Sendable () async throws -> Hold) {
        self.request = request
        self.acquire = acquire
    }

    func next() async throws -> GenerationEvent? {
        guard !isOver else { return nil }
        do {
            var iterator: GenerationStream.AsyncIterator
            if let events {
                iterator = events
            } else {
                let hold = try await acquire()
                self.hold = hold
                iterator = hold.engine.generate(request).makeAsyncIterator()
            }
            let event = try await iterator.next(isolation: self)
            events = iterator
            if event == nil { await end() }
            return event
        } catch {
            await end()
            throw error
        }
    }

    private func end() async {
        isOver = true
        events = nil
        let held = hold
        hold = nil
        await held?.release()
    }

    deinit {
        // Its reader let go of it in the middle.
        guard let hold else { return }
        Task { await hold.release() }
    }
}
