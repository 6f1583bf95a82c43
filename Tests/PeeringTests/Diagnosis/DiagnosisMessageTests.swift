import Core
import Testing

@testable import Peering

@Suite struct DiagnosisMessageTests {
    static let question = DiagnosisMessage.question(
        number: 7,
        DiagnosisQuestion(
            addresses: [NetworkAddress(host: "10.0.0.1", port: 8080), NetworkAddress(host: "fd00::1", port: 1)],
            clock: 1_795_000_000_000))
    static let answer = DiagnosisMessage.answer(
        number: .max,
        DiagnosisAnswer(
            reached: [
                .init(address: NetworkAddress(host: "10.0.0.1", port: 8080), outcome: .reached),
                .init(address: NetworkAddress(host: "fd00::1", port: 65_535), outcome: .timedOut),
            ],
            heard: [
                .init(channel: .multicast, age: .milliseconds(1_234)), .init(channel: .mdns, age: .zero),
            ], clock: 5, version: "0.3.0"))

    @Test(arguments: [
        question, answer, .question(number: 0, DiagnosisQuestion(addresses: [], clock: 0)),
        .answer(number: 0, DiagnosisAnswer(reached: [], heard: [], clock: .max, version: "")),
    ])
    func `What is written is read back`(message: DiagnosisMessage) throws {
        #expect(try DiagnosisMessage(decoding: message.encoded()) == message)
    }

    @Test func `Host names are refused: nobody makes another host look them up`() {
        let message = DiagnosisMessage.question(
            number: 1, DiagnosisQuestion(addresses: [NetworkAddress(host: "example.org", port: 80)], clock: 0))
        #expect(throws: RuntimeError.self) { try DiagnosisMessage(decoding: message.encoded()) }
    }

    @Test func `More addresses than allowed are left out when written and refused when read`() throws {
        let many = (0..<40).map { NetworkAddress(host: "10.0.0.\($0)", port: 80) }
        let message = DiagnosisMessage.question(number: 1, DiagnosisQuestion(addresses: many, clock: 0))
        guard case .question(_, let read) = try DiagnosisMessage(decoding: message.encoded()) else {
            Issue.record("not a question")
            return
        }
        #expect(read.addresses == Array(many.prefix(DiagnosisMessage.mostAddresses)))
    }

    @Test func `Mutated messages neither trap nor read as something else`() {
        var random = Seeded(11)
        var read = 0
        for round in 0..<10_000 {
            var bytes = (round.isMultiple(of: 2) ? Self.question : Self.answer).encoded()
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                guard !bytes.isEmpty else { break }
                let position = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: position)
                default: bytes = Array(bytes.prefix(position))
                }
            }
            guard let message = try? DiagnosisMessage(decoding: bytes) else { continue }
            read += 1
            if (try? DiagnosisMessage(decoding: message.encoded())) != message { Issue.record("\(bytes.hex)") }
        }
        #expect(read > 200)
    }
}
