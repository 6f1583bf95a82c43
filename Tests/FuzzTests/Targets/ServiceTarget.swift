import Core
import Cryptography

@testable import Peering

/// Texts of mDNS services: anyone may announce one. The first two bytes are the port.
enum ServiceTarget {
    static func run(_ bytes: [UInt8]) throws(Broken) {
        guard bytes.count >= 2 else { return }
        let port = Int(bytes[0]) << 8 | Int(bytes[1])
        let text = Array(bytes.dropFirst(2))
        guard let (record, code) = ServiceRecord.decode(text, port: port) else { return }
        let key = DatagramTarget.key
        _ = record.isAuthentic(code, key: key)
        let written = record.encoded(key: key)
        try hold(written.count <= ServiceRecord.largest, "a text grew to \(written.count) bytes")
        guard let again = ServiceRecord.decode(written, port: port) else {
            throw Broken("what is written cannot be read")
        }
        try hold(again.record == record, "what was read is not what is written of it")
        try hold(again.record.isAuthentic(again.code, key: key), "what is written is not authentic")
    }
}
