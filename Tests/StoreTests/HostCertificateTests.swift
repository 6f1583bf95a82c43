import Core
import Cryptography
import Testing

@testable import Store

@Suite struct HostCertificateTests {
    private static let day: Int64 = 86_400

    @Test("it is made once, kept for this user alone, and made anew with the same key before it ends")
    func life() throws {
        let sandbox = Sandbox()
        func load(_ now: Int64) throws -> HostCertificate {
            try HostCertificate.loadOrCreate(directory: sandbox.folder, names: ["host"], addresses: [], now: now)
        }
        let first = try load(0)
        #expect(first.isNew)
        let second = try load(700 * Self.day)
        #expect(!second.isNew && second.certificate == first.certificate)
        let third = try load(800 * Self.day)
        #expect(third.isNew && third.certificate != first.certificate)
        #expect(CertificateFacts(der: third.certificate)?.keyPin == CertificateFacts(der: first.certificate)?.keyPin)
    }
}
