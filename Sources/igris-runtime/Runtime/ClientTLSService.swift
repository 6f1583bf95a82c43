import Core
import Cryptography
import Gateway
import Logging
import Metrics
import NIOCore
import NIOPosix
import Peering
import ServiceLifecycle
import Settings
import Store

/// TLS with clients as the settings want it: the certificate's files or one of this host's own, looked at now and then.
struct ClientTLSService: Service {
    /// Certificates are renewed days before they end.
    private static let watch = Duration.seconds(2)

    private let tls: ClientTLS
    private let isOwn: Bool
    private let log: Logger
    private let end = Gauge(label: "igris_tls_certificate_end_seconds")

    /// Nil where the settings want none. Throws ``RuntimeError`` `.configuration`, naming the file and the next step.
    ///
    /// - Parameter now: seconds since 1970.
    static func make(
        _ settings: Settings, _ folder: StateFolder, now: Int64, log: Logger
    ) throws -> ClientTLSService? {
        let wish = settings.tls
        guard wish.isEnabled else { return nil }
        let certificate: ClientTLSSource.Certificate
        if let file = wish.cert, let key = wish.key {
            certificate = .files(certificate: file, key: key)
        } else {
            let addresses = (try? System.enumerateDevices())?.compactMap { $0.address?.ipAddress } ?? []
            let own = try folder.naming {
                try HostCertificate.loadOrCreate(
                    directory: folder.path, names: Self.names(settings),
                    addresses: addresses.filter { !$0.contains("%") }, now: now)
            }
            certificate = .own(own.certificate, own.key)
        }
        let tls = try ClientTLS(
            ClientTLSSource(
                certificate, clientAuthority: wish.clientCA, requiresClientCertificate: wish.requiresClientCert))
        let service = ClientTLSService(tls: tls, isOwn: wish.cert == nil, log: log)
        service.tell()
        if tls.shown.facts.notAfter < now {
            log.warning(
                "the certificate that clients are shown has expired",
                metadata: ["tls.fingerprint": "\(tls.shown.facts.fingerprint)"])
        }
        return service
    }

    private init(tls: ClientTLS, isOwn: Bool, log: Logger) {
        self.tls = tls
        self.isOwn = isOwn
        self.log = log
    }

    var door: ClientDoor {
        ClientDoor(
            secure: { [tls] in tls.secure($0) },
            certificate: { [tls, isOwn] in
                let shown = tls.shown
                return ClientDoor.Certificate(
                    fingerprint: shown.facts.fingerprint, keyPin: shown.facts.keyPin, text: shown.certificate,
                    notAfter: shown.facts.notAfter, isOwn: isOwn, trouble: tls.trouble?.message)
            })
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                // Cancelled with the run.
                try? await Task.sleep(for: Self.watch)
                await look()
            }
        }
    }

    private func look() async {
        do {
            if try await NIOThreadPool.singleton.runIfActive({ [tls] in try tls.refresh() }) { tell() }
        } catch let error as RuntimeError {
            log.error("the new certificate is not used; the one before stays", metadata: ["reason": "\(error.message)"])
        } catch {
            // The pool has ended: so does this.
        }
    }

    private func tell() {
        let facts = tls.shown.facts
        end.record(facts.notAfter)
        log.notice("clients may speak TLS", metadata: ["tls.fingerprint": "\(facts.fingerprint)"])
    }

    /// As clients write this host in a URL.
    private static func names(_ settings: Settings) -> [String] {
        let host = Storage.hostname().lowercased()
        let short = host.prefix { $0 != "." }
        var names: [String] = []
        for name in [host, "\(short).local", "localhost"] + settings.server.allowedHosts
        where name.utf8.allSatisfy(Self.isNameByte) && !name.isEmpty && !name.hasPrefix(".") && !names.contains(name) {
            names.append(name)
        }
        return names
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
