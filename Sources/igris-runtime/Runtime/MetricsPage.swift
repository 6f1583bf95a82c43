import Core
import Metrics
import Node
import Store
import Telemetry

/// The page at `/metrics`: what was counted, and what is measured only when somebody looks.
struct MetricsPage {
    let registry: PrometheusRegistry
    let node: LocalNode
    /// Nil where nothing is shared.
    var swarm: (any SwarmServices)?
    let store: SQLiteContextStore

    /// What our metrics mean; the gateway's and the node's own.
    static let descriptions: [MetricDescription] =
        own + SwarmMetrics.descriptions

    private static let own: [MetricDescription] = [
        MetricDescription("igris_http_requests_total", "Requests answered, by route, method and status."),
        MetricDescription("igris_http_request_duration_seconds", "Time from a request's head to the end of its reply."),
        MetricDescription(
            "igris_time_to_first_token_seconds", "Time from a chat request to the first piece of its answer.",
            buckets: Buckets.fineSeconds),
        MetricDescription("igris_tokens_total", "Tokens of prompts and of answers."),
        MetricDescription("igris_access_refused_total", "Requests that were refused, by the reason."),
        MetricDescription(
            "igris_access_cut_off_total", "Requests that were cut off because their token was revoked or expired."),
        MetricDescription(
            "igris_tls_handshakes_total", "TLS handshakes taken, of peers and of clients, by how they ended."),
        MetricDescription(
            "igris_tls_certificate_end_seconds",
            "When the certificate expires that clients are shown, in seconds since 1970."),
        MetricDescription(
            "igris_auth_sessions_total", "Sessions that were opened for a signed nonce, and answers that opened none."),
        MetricDescription("igris_audit_entries_total", "Entries written to the audit log."),
        MetricDescription("igris_audit_lost_total", "Events that could not be written to the audit log."),
        MetricDescription("igris_backups_total", "Backups that clients asked this host for, by how they ended."),
        MetricDescription("igris_requests_in_flight", "Requests being answered."),
        MetricDescription("igris_engine_requests_waiting", "Requests that wait for the model's engine."),
        MetricDescription("igris_engine_requests_running", "Requests that the model's engine is answering."),
        MetricDescription("igris_queue_depth", "Requests that wait for the model, by class."),
        MetricDescription(
            "igris_queue_wait_seconds", "Time that a request waited for its turn at a model.",
            buckets: Buckets.fineSeconds),
        MetricDescription(
            "igris_queue_refusals_total", "Requests that left a queue without their turn: it was full, or too late."),
        MetricDescription(
            "igris_migrations_total",
            "Waiting requests that went on to another host: steal, that had nothing to do; shed, this one was hot; full, "
                + "this one had no room."),
        MetricDescription("igris_engine_ready", "1 while the model's engine is ready, else 0."),
        MetricDescription("igris_model_memory_bytes", "Memory that the model's processes take, shared pages in part."),
        MetricDescription("igris_models_memory_budget_bytes", "Memory that models loaded on demand may take together."),
        MetricDescription("igris_model_loads_total", "Loads of the model's engine, by how they ended."),
        MetricDescription("igris_model_unloads_total", "Times that the model was unloaded, by the reason."),
        MetricDescription("igris_store_conversations", "Conversations in the store."),
        MetricDescription("igris_store_operations", "Operations in the store."),
        MetricDescription("igris_store_bytes", "Bytes of the store on disk, write-ahead log included."),
        MetricDescription("igris_store_key_version", "Version of the data key that seals new rows of the store."),
        MetricDescription(
            "igris_store_rows_to_rewrite", "Rows that may still need an older data key; it goes when there are none."),
        MetricDescription("igris_store_operations_total", "Operations written since the start."),
        MetricDescription(
            "igris_store_commit_duration_seconds", "Time of one commit to disk; many turns may share it.",
            buckets: Buckets.fineSeconds),
        MetricDescription("igris_store_commit_failures_total", "Commits that the disk or the store refused."),
        MetricDescription(
            "igris_store_damaged_operations", "Operations whose rows are damaged or gone, and not yet put right."),
        MetricDescription("igris_store_repaired_operations_total", "Damaged operations put right from a peer's copy."),
        MetricDescription(
            "igris_store_unwritten_bytes", "What the disk refused and is kept in memory until it takes it."),
        MetricDescription("igris_store_scrubs_total", "Times that all rows of the store were looked at."),
        MetricDescription(
            "igris_conversations_expired_total", "Conversations that this host has let expire, by the setting."),
        MetricDescription(
            "igris_forwarded_requests_total", "Requests that this host had others answer, and they had it answer."),
        MetricDescription(
            "igris_failovers_total", "Times that an answer went on after whoever wrote it had failed, by cause."),
        MetricDescription("igris_standby_answers", "Answers of other hosts that this one stands by for at present."),
        MetricDescription(
            "igris_answers_taken_up_total",
            "Answers that this host went on with when the host of their client was gone."),
        MetricDescription(
            "igris_failover_gap_seconds", "From the last piece before a failure to the first one after it.",
            buckets: Buckets.fineSeconds),
        MetricDescription(
            "igris_tunnel_bytes_total", "Bytes of workers' connections that went through tunnels to other hosts."),
        MetricDescription("igris_tunnel_connections", "Workers' connections that are open, lent and borrowed ones."),
        MetricDescription("igris_workers", "Workers lent to other hosts, or borrowed from them, at present."),
        MetricDescription(
            "igris_route_seconds", "Time to choose the host for a request.", buckets: Buckets.fineSeconds),
        MetricDescription(
            "igris_engine_instances", "Engines of the model that run on this host, or are being started."),
        MetricDescription("igris_desired_hosts", "Hosts that the swarm's work asks for, with a quarter in reserve."),
        MetricDescription("igris_capacity_peak_requests", "Answers written and waited for at once, at most."),
        MetricDescription("igris_capacity_requests_per_host", "Answers that one host of the swarm writes at once."),
        MetricDescription("igris_requests_open", "Requests in the background that are not over, of the whole swarm."),
        MetricDescription("igris_requests_total", "Requests in the background that ended with this host's result."),
        MetricDescription("igris_request_reruns_total", "Requests in the background that this host ran again."),
        MetricDescription(
            "igris_read_only", "1 while the store's disk is nearly full, so that nothing new is kept, else 0."),
        MetricDescription(
            "igris_memory_short", "1 while memory is nearly used up, so that nothing new is begun, else 0."),
        MetricDescription(
            "igris_pressure_refusals_total", "Requests refused because the disk or memory was nearly used up."),
        MetricDescription("igris_ready", "1 while this host takes requests, else 0."),
    ]

    func text() async -> String {
        await node.measureModels()
        for model in await node.models() {
            let dimensions = [("model", model.name)]
            Gauge(label: "igris_engine_requests_waiting", dimensions: dimensions).record(model.waiting)
            Gauge(label: "igris_engine_requests_running", dimensions: dimensions).record(model.running)
            for (priority, count) in model.queued {
                Gauge(label: "igris_queue_depth", dimensions: dimensions + [("class", priority.rawValue)])
                    .record(count)
            }
            Gauge(label: "igris_model_memory_bytes", dimensions: dimensions).record(model.memory ?? 0)
            Gauge(label: "igris_engine_ready", dimensions: dimensions).record(model.state == .ready ? 1 : 0)
        }
        // A store that cannot be read has no sizes to show; readiness tells why.
        if let sizes = try? await node.storeStatistics() {
            Gauge(label: "igris_store_conversations").record(sizes.conversations)
            Gauge(label: "igris_store_operations").record(sizes.operations)
            Gauge(label: "igris_store_bytes").record(sizes.bytes)
        }
        if let keys = try? await store.keyStatus() {
            Gauge(label: "igris_store_key_version").record(keys.version)
            Gauge(label: "igris_store_rows_to_rewrite").record(Int(clamping: keys.rowsLeft))
        }
        if let swarm { await SwarmMetrics.measure(swarm) }
        Gauge(label: "igris_ready").record(await node.readiness().isReady ? 1 : 0)
        return registry.exposition()
    }
}
