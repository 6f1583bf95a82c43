import Core

extension Settings.TLS {
    init(reading reader: inout SettingsReader) {
        let wish = reader.optional(
            "enabled", .toggle,
            "Answer https as well as http. Without `tls.cert` this host makes a certificate for itself, keeps its key in "
                + "the state folder and shows its fingerprint (`igris-runtime certificate`). Without this key: where "
                + "`tls.cert` is given.")
        cert = reader.optional(
            "cert", .path,
            "PEM file of this host's certificate and those between it and its authority; read again when it "
                + "changes.")
        key = reader.optional("key", .path, "PEM file of that certificate's private key, without a password.")
        clientCA = reader.optional(
            "client_ca", .path,
            "PEM file of the authorities whose certificates let clients in; they are asked for one then.")
        requiresClientCert = reader.value(
            "require_client_cert", .toggle, default: false,
            "End the handshake of clients without such a certificate; plain requests of other machines are refused, too."
        )
        let isRequired = reader.value(
            "required", .toggle, default: false, "Refuse requests that other machines send over plain HTTP.")
        clients = Self.clients(reading: &reader)
        isEnabled = wish ?? (cert != nil)
        self.isRequired = isRequired || requiresClientCert
        if (cert == nil) != (key == nil) {
            reader.refuse(
                "tls.cert and tls.key belong together: give both, or neither to have a certificate made",
                at: cert == nil ? "key" : "cert")
        }
        if self.isRequired, !isEnabled {
            reader.refuse(
                "nobody could speak TLS: set tls.enabled to true, or name a certificate with tls.cert and tls.key",
                at: isRequired ? "required" : "require_client_cert")
        }
        if clientCA == nil, requiresClientCert || !clients.isEmpty {
            reader.refuse(
                "tls.client_ca is required: the file of the authority that signs the certificates of clients",
                at: requiresClientCert ? "require_client_cert" : "clients")
        }
    }

    private static func clients(reading reader: inout SettingsReader) -> [Client] {
        reader.items(
            "clients", default: "[]",
            "What single certificates of `tls.client_ca` may do. With none listed all of them may chat and read; else "
                + "others are worth nothing by themselves."
        ) { reader, _ in
            let name = reader.required(
                "name", .keyName, "Owner of what is said with it; as the names of keys and tokens.")
            let subject = reader.optional(
                "subject", .subject,
                "Its subject as `openssl x509 -noout -subject -nameopt RFC2253` writes it, `CN=ann,O=Example`.")
            let fingerprint = reader.optional(
                "fingerprint", .fingerprint,
                "Its SHA-256 in hex, as `openssl x509 -noout -fingerprint -sha256` writes it.")
            let scopes = reader.value(
                "scopes", .list(of: .choice(), count: 1...3), default: [Settings.Scope.chat, .read],
                "What it may do, as of a token.")
            if subject == nil, fingerprint == nil {
                reader.refuse("\(reader.full("subject")) or \(reader.full("fingerprint")) is required")
            }
            return name.map { Client(name: $0, subject: subject, fingerprint: fingerprint, scopes: scopes) }
        }
    }
}

extension Settings.Auth {
    static func agents(reading reader: inout SettingsReader) -> [Agent] {
        reader.items(
            "agents", default: "[]",
            "Clients that open a session by signing a nonce with a key of their own (docs/access.md)."
        ) { reader, _ in
            let name = reader.required("name", .keyName, "Its `agent_id`, and the owner of what it says.")
            let key = reader.required("public_key", .fingerprint, "Its Ed25519 public key: 32 bytes in hex.")
            let scopes = reader.value(
                "scopes", .list(of: .choice(), count: 1...3), default: [Settings.Scope.chat, .read],
                "What it may do, as of a token.")
            guard let name, let key else { return nil }
            return Agent(name: name, publicKey: key, scopes: scopes)
        }
    }
}

extension Kind where Value == String {
    fileprivate static var subject: Kind {
        text("the subject of a certificate, as CN=ann,O=Example", bytes: 3...1_024) { $0.contains("=") }
    }

    /// Read without its colons, in lower case.
    fileprivate static var fingerprint: Kind {
        var kind = text("64 hex digits, with or without colons", bytes: 64...95) { hexDigits($0) != nil }
        let read = kind.read
        kind.read = { node, reading in read(node, &reading).flatMap(hexDigits) }
        return kind
    }

    private static func hexDigits(_ text: String) -> String? {
        let digits = text.filter { $0 != ":" }.lowercased()
        return digits.utf8.count == 64 && [UInt8](hex: digits) != nil ? digits : nil
    }
}
