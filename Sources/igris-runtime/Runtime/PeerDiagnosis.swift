import Core
import Node
import Peering
import Settings

/// The doctor of the running daemon: examines this host, asks the peers how they see it, and answers theirs.
actor PeerDiagnosis {
    private var waiting: [UInt64: CheckedContinuation<DiagnosisAnswer?, Never>] = [:]
    private var last: UInt64 = 0
    private static let patience = Duration.seconds(4)

    private let subject: DoctorSubject
    private let node: NodeID

    init(subject: DoctorSubject, node: NodeID) {
        self.subject = subject
        self.node = node
    }

    func examine(_ view: SwarmView) async -> [DiagnosticCheck] {
        var subject = subject
        subject.daemon = DoctorSubject.Daemon(
            node: node, swarm: view.swarm, version: IgrisRuntime.version, channels: view.channels,
            hosts: view.hosts, ask: { await self.ask($0, $1, view.send) })
        return await PeerDoctor.examine(subject)
    }

    /// A message of a peer's doctor; what is returned goes back to it.
    func received(
        _ payload: [UInt8], linkedAt address: NetworkAddress, heard: [DiscoveryChannel: Duration]
    ) async -> [UInt8]? {
        // Rubbish is for nobody.
        guard let message = try? DiagnosisMessage(decoding: payload) else { return nil }
        switch message {
        case .question(let number, let question):
            let answer = await PeerDoctor.answer(
                question, from: address,
                heard: heard.sorted { $0.key < $1.key }.map { .init(channel: $0.key, age: $0.value) },
                version: IgrisRuntime.version)
            return DiagnosisMessage.answer(number: number, answer).encoded()
        case .answer(let number, let answer):
            waiting.removeValue(forKey: number)?.resume(returning: answer)
            return nil
        }
    }

    private func ask(
        _ node: NodeID, _ question: DiagnosisQuestion, _ send: @Sendable (NodeID, [UInt8]) async -> Void
    ) async -> DiagnosisAnswer? {
        last += 1
        let number = last
        await send(node, DiagnosisMessage.question(number: number, question).encoded())
        return await withCheckedContinuation { continuation in
            waiting[number] = continuation
            Task {
                try? await Task.sleep(for: Self.patience)  // nobody cancels it
                waiting.removeValue(forKey: number)?.resume(returning: nil)
            }
        }
    }
}
