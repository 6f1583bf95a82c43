import Node
import ServiceLifecycle

/// The audit log is written until the gateway has ended, and then what is left of it.
struct AuditService: Service {
    let audit: AuditLog

    func run() async throws { await cancelWhenGracefulShutdown { await audit.run() } }
}
