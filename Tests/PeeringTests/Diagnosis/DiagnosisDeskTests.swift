import Core
import Testing

@testable import Peering

@Suite struct DiagnosisDeskTests {
    private static let address = NetworkAddress(host: "127.0.0.1", port: 50_000)
    private static let question = DiagnosisQuestion(
        addresses: [NetworkAddress(host: "127.0.0.1", port: 1)], clock: 0)

    private func desk() -> DiagnosisDesk { DiagnosisDesk(version: "0.3.0") }

    @Test func `A question crosses to the other desk and its answer back`() async throws {
        let here = desk()
        let there = desk()
        let answer = await here.ask(TestSwarm.node(2), Self.question) { node, payload in
            #expect(node == TestSwarm.node(2))
            // A malformed message would leave the question unanswered, which the test sees.
            guard
                let reply = try? await there.receive(
                    payload, from: TestSwarm.node(1), at: Self.address, heard: [.multicast: .seconds(3)])
            else {
                return
            }
            _ = try? await here.receive(reply, from: TestSwarm.node(2), at: Self.address, heard: [:])
        }
        #expect(answer?.reached.map(\.outcome) == [.refused])
        #expect(answer?.heard == [.init(channel: .multicast, age: .seconds(3))])
        #expect(answer?.version == "0.3.0")
    }

    @Test func `An answer of somebody else is not taken`() async {
        let here = desk()
        let answer = await here.ask(TestSwarm.node(2), Self.question) { _, payload in
            guard case .question(let number, _) = try? DiagnosisMessage(decoding: payload) else { return }
            for (node, version) in [(TestSwarm.node(3), "forged"), (TestSwarm.node(2), "true")] {
                let answer = DiagnosisAnswer(reached: [], heard: [], clock: 0, version: version)
                // A malformed message would leave the question unanswered, which the test sees.
                _ = try? await here.receive(
                    DiagnosisMessage.answer(number: number, answer).encoded(), from: node, at: Self.address, heard: [:])
            }
        }
        #expect(answer?.version == "true")
    }

    @Test func `What is no message is refused by name`() async {
        await #expect(throws: RuntimeError.self) {
            try await desk().receive([9, 9, 9], from: TestSwarm.node(2), at: Self.address, heard: [:])
        }
    }
}
