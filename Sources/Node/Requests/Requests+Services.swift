package import Core
internal import Swarm

/// ``RequestServices``.
extension Requests: RequestServices {
    package func open(
        _ order: RequestOrder, messages: [Message], key: String?, caller: Owner
    ) async throws -> RequestReport {
        try requireRoom()
        try await dispatcher.requireCapable(order)
        let wall = wallClock()
        let note = RequestNote(.opened, instance: instance, deadline: order.deadline, replicas: order.replicas)
        let (request, operations) = try await conversations.openRequest(
            order, messages, key: key, note: note, day: RequestNote.day(ofMilliseconds: wall), of: caller)
        take(operations)
        if !operations.isEmpty { _ = await replicated(request, to: order.replicas) }
        return try await self.request(request, of: caller)
    }

    package func request(_ id: Dot, of caller: Owner) async throws -> RequestReport {
        let kept = try await conversations.keptRequest(id, of: caller)
        // The conversation shows what the notes are about to tell.
        if keeper.record(id) == nil, kept.answer == nil { await catchUp() }
        return report(id, kept, holders: await writer.holders(of: id).count)
    }

    package func requests(of caller: Owner, limit: Int) async throws -> [RequestReport] {
        var reports: [RequestReport] = []
        await catchUp()
        for (request, kept) in try await conversations.keptRequests(of: caller, limit: limit) {
            reports.append(report(request, kept, holders: await writer.holders(of: request).count))
        }
        return reports
    }

    package func cancel(_ id: Dot, of caller: Owner) async throws -> RequestReport {
        var report = try await request(id, of: caller)
        guard !report.isOver else { return report }
        await note(.cancelled, of: id, attempt: 1)
        // The host that runs it writes what came so far.
        let end = ContinuousClock.now + Limits.cancellation
        while !report.isOver, .now < end {
            try await Task.sleep(for: .milliseconds(20))
            report = try await request(id, of: caller)
        }
        return report
    }

    package func delete(_ id: Dot, of caller: Owner) async throws {
        let report = try await request(id, of: caller)
        if !report.isOver { await note(.cancelled, of: id, attempt: 1) }
        _ = try await conversations.delete(report.conversation, of: caller)
    }

    package func changes(of id: Dot) -> AsyncStream<Void> { progress(of: id).changes() }

    package func progress(of id: Dot, behind told: [Int]) -> (status: String?, pieces: [(part: Int, text: String)]) {
        (keeper.record(id).map(status), watched(id)?.pieces(behind: told) ?? [])
    }

    package func owners(of key: String, count: Int) -> [RingOwner] {
        keeper.owners(of: HashRing.key(of: key), count: count).map {
            RingOwner(node: $0, name: names[$0] ?? "", isSelf: $0 == node)
        }
    }

    // MARK: - Parts

    private func report(_ id: Dot, _ kept: Conversations.KeptRequest, holders: Int) -> RequestReport {
        let record = keeper.record(id)
        let result = kept.answer?.annotation
        var status = record.map(status)
        if let result { status = result["status"]?.string }
        return RequestReport(
            id: id, conversation: kept.conversation, created: kept.created.seconds, order: kept.order,
            // What no note tells of was lost on the way, or is over for long.
            status: status ?? "failed", host: record?.holder?.node, result: result, answer: kept.answer,
            trace: result?["trace"] ?? .array(record.map(trace) ?? []),
            reruns: max(0, (record?.holder?.number ?? 1) - 1), discarded: record?.discarded.count ?? 0,
            replicas: 1 + holders)
    }

    private func status(_ record: RequestRecord) -> String {
        guard record.isOpen, let holder = record.holder else { return "over" }
        if holder.number > 1 { return "rerun" }
        return holder.began == nil ? "queued" : "running"
    }
}
