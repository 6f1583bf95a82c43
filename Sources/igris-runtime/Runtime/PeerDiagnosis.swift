import Core
import Node
import Peering
import Store

/// The doctor of the running daemon: examines this host, and asks the linked peers how they see it.
struct PeerDiagnosis: Sendable {
    let subject: DoctorSubject
    let node: NodeID
    let ring: SwarmKeyRing
    let desk = DiagnosisDesk(version: IgrisRuntime.version)

    func examine(_ view: SwarmView) async -> [DiagnosticCheck] {
        var subject = subject
        subject.isKeyOfThisMachineOnly = ring.isUnshared
        subject.daemon = DoctorSubject.Daemon(
            node: node, swarm: view.swarm, version: IgrisRuntime.version, channels: view.channels,
            hosts: view.hosts, ask: { await desk.ask($0, $1, send: view.send) })
        return await PeerDoctor.examine(subject)
    }
}
