import CLinux
import Logging
import Node
import ServiceLifecycle
import Settings
import Swarm
import Telemetry

/// Looks at the store's disk and at memory for as long as the daemon runs.
struct PressureService: Service {
    let pressure: Pressure
    let writer: LogWriter

    func run() async throws { await cancelWhenGracefulShutdown { await pressure.run(writer) } }

    static func pressure(_ settings: Settings, log: Logger) -> Pressure {
        let place = settings.mcp.storagePath.lastIndex(of: "/").map { settings.mcp.storagePath[...$0] } ?? "."
        let disk = settings.mcp.persist ? String(place) : nil
        return Pressure(
            Watermarks.Marks(
                diskReserve: settings.context.diskReserve.map { UInt64(clamping: $0) },
                residentLimit: MemoryBudget.ownBytes(settings)),
            log: log,
            measure: {
                let machine = MachineResources.current(diskOf: disk)
                return Watermarks.Sample(
                    diskFree: machine.diskFree, diskSize: machine.diskSize, memoryFree: machine.memoryFree,
                    memorySize: machine.memorySize, resident: ProcessMetrics.resident)
            },
            // What was freed in small pieces the library keeps for later, else.
            relieve: { igris_trim_memory() })
    }
}
