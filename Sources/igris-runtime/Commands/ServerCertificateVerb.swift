import ArgumentParser
import Core

/// `igris-runtime certificate`: what clients of other machines are shown over https, so that they can trust it.
struct ServerCertificateVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificate", abstract: "Print the certificate that clients are shown over https.",
        discussion: """
            The certificate goes to standard output, its fingerprint to standard error. A client of another machine trusts \
            it by that file: ssh HOST igris-runtime certificate > igris.pem, then curl --cacert igris.pem https://HOST:PORT/, \
            or SSL_CERT_FILE=igris.pem for Python.
            """)

    @OptionGroup var page: PageOptions

    func run() async throws {
        try await reporting {
            let client = try DaemonClient(page.daemon, environment: Environment.variables)
            guard let tls = try await client.send(.get, "/v1/status").json()["tls"], tls.object != nil else {
                throw RuntimeError(
                    .unavailable,
                    "this host does not answer https; set tls.enabled to true in its configuration, or tls.cert and "
                        + "tls.key to files, and start it again")
            }
            if page.json { return Terminal.write(tls.text + "\n") }
            Terminal.write(tls["certificate"]?.string ?? "")
            for line in Self.words(tls) { Terminal.complain(line.shownOnTerminal) }
        }
    }

    static func words(_ tls: JSON) -> [String] {
        let origin = tls["own"]?.bool == true ? "made by this host for itself" : "tls.cert"
        let fingerprint = tls["fingerprint"]?.string ?? ""
        return [
            "SHA-256 \(inPairs(fingerprint)), \(origin), good until \(tls["not_after"]?.string ?? "?")",
            "for curl --pinnedpubkey: \(tls["key_pin"]?.string ?? "?")",
        ] + (tls["trouble"]?.string.map { ["what lies in its files now is not used: \($0)"] } ?? [])
    }

    /// As other programs write a fingerprint.
    static func inPairs(_ hex: String) -> String {
        stride(from: 0, to: hex.count, by: 2).map { hex.dropFirst($0).prefix(2).uppercased() }.joined(separator: ":")
    }
}
