import Core
import Peering
import Settings
import Store

extension DoctorSubject {
    /// What the settings tell the doctor, with a daemon or without one.
    init(_ settings: Settings, folder: StateFolder, daemon: Daemon? = nil) {
        // A key that cannot be read is the daemon's to complain about; the doctor looks at everything else.
        let ring = try? SwarmKeyRing.resolve(settings, folder: folder)
        self.init(
            isEnabled: settings.mcp.enabled, mdns: settings.mcp.mdns, multicast: settings.mcp.multicast,
            multicastPort: settings.mcp.multicastPort, seeds: settings.mcp.seeds, host: settings.server.host,
            port: settings.server.port, security: settings.mcp.open ? .open : .key,
            keySource: ring?.origin(in: settings, folder: folder), isKeyOfThisMachineOnly: ring?.isUnshared == true,
            addressAllowlist: settings.auth.ipAllowlist.map(\.description), daemon: daemon)
    }
}
