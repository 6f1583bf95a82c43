import CDNSSD
import Dispatch
import Glibc

/// What the library had to say, copied out of its callback.
enum DNSServiceReply: Hashable, Sendable {
    case failed(Int32)
    case registered(name: String)
    case browsed(ServiceName, isThere: Bool)
    case resolved(target: String, port: Int, text: [UInt8])
    case record(type: UInt16, data: [UInt8])
}

/// One service as browsing names it: the same service is there once for each interface.
struct ServiceName: Hashable, Comparable, Sendable {
    var name: String
    var type: String
    var domain: String
    var interface: UInt32

    static func < (left: ServiceName, right: ServiceName) -> Bool {
        (left.name, left.interface, left.type, left.domain) < (right.name, right.interface, right.type, right.domain)
    }
}

/// One outstanding operation of the library. It costs a thread and a connection to the bus in Avahi's: few at a time,
/// each ended as soon as it has answered (platform.md §2.1).
final class DNSServiceReference {
    /// What the library's callback writes into, and the reference itself.
    ///
    /// Sendable: all of it is touched on one queue only, the callbacks included, since the library calls them from
    /// within `DNSServiceProcessResult`.
    private final class Core: @unchecked Sendable {
        let library: DNSServiceLibrary
        var reference: DNSServiceRef?
        var replies: [DNSServiceReply] = []

        init(_ library: DNSServiceLibrary) { self.library = library }
    }

    /// Beyond this many replies at once the rest waits for the next turn.
    private static let mostAtOnce = 64

    private let core: Core
    private let source: any DispatchSourceRead

    /// `begin` starts the operation, given where its reference goes and the callbacks' context; `isReadable` is called
    /// on `queue` when there is something to ``process()``.
    init(
        _ library: DNSServiceLibrary, queue: DispatchQueue, isReadable: @escaping @Sendable () -> Void,
        begin: (UnsafeMutablePointer<DNSServiceRef?>, UnsafeMutableRawPointer) -> DNSServiceErrorType
    ) throws(DNSServiceFailure) {
        let core = Core(library)
        let code = begin(&core.reference, Unmanaged.passUnretained(core).toOpaque())
        guard code == 0, core.reference != nil else { throw DNSServiceFailure(code: code) }
        let descriptor = library.descriptor(core.reference)
        guard descriptor >= 0 else {
            library.deallocate(core.reference)
            throw DNSServiceFailure(code: -65_537)
        }
        self.core = core
        source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
        source.setEventHandler(handler: isReadable)
        // The descriptor may only be closed once nobody watches it.
        source.setCancelHandler {
            core.library.deallocate(core.reference)
            core.reference = nil
        }
        source.resume()
    }

    deinit { source.cancel() }

    /// Hands over what has come, without waiting for more.
    func process() -> [DNSServiceReply] {
        for _ in 0..<Self.mostAtOnce {
            var descriptor = pollfd(fd: core.library.descriptor(core.reference), events: Int16(POLLIN), revents: 0)
            // The library waits for an answer where there is none to read.
            guard poll(&descriptor, 1, 0) > 0 else { break }
            let code = core.library.processResult(core.reference)
            guard code == 0 else {
                core.replies.append(.failed(code))
                break
            }
        }
        defer { core.replies = [] }
        return core.replies
    }

    /// Replaces the text of a registered service; false where the library cannot.
    func update(text: [UInt8]) -> Bool {
        core.library.updateRecord(core.reference, nil, 0, UInt16(clamping: text.count), text, 0) == 0
    }

    fileprivate static func append(_ reply: DNSServiceReply, to context: UnsafeMutableRawPointer?) {
        guard let context else { return }
        Unmanaged<Core>.fromOpaque(context).takeUnretainedValue().replies.append(reply)
    }
}

/// Why the library refused to begin.
struct DNSServiceFailure: Error, Hashable, CustomStringConvertible {
    let code: DNSServiceErrorType

    var isNameConflict: Bool { code == Int32(kDNSServiceErr_NameConflict) }
    var description: String { isNameConflict ? "the name is taken" : "error \(code)" }
}

// Free functions: a closure formed in an isolated place would trap when C calls it (platform.md §0.6). With an error
// all pointers may be null.

func dnsServiceRegistered(
    _: DNSServiceRef?, _: DNSServiceFlags, code: DNSServiceErrorType, name: UnsafePointer<CChar>?,
    _: UnsafePointer<CChar>?, _: UnsafePointer<CChar>?, context: UnsafeMutableRawPointer?
) {
    let reply: DNSServiceReply =
        if code == 0, let name { .registered(name: String(cString: name)) } else { .failed(code) }
    DNSServiceReference.append(reply, to: context)
}

func dnsServiceBrowsed(
    _: DNSServiceRef?, flags: DNSServiceFlags, interface: UInt32, code: DNSServiceErrorType,
    name: UnsafePointer<CChar>?, type: UnsafePointer<CChar>?, domain: UnsafePointer<CChar>?,
    context: UnsafeMutableRawPointer?
) {
    guard code == 0, let name, let type, let domain else {
        DNSServiceReference.append(.failed(code), to: context)
        return
    }
    let service = ServiceName(
        name: String(cString: name), type: String(cString: type), domain: String(cString: domain),
        interface: interface)
    let isThere = flags & DNSServiceFlags(kDNSServiceFlagsAdd) != 0
    DNSServiceReference.append(.browsed(service, isThere: isThere), to: context)
}

func dnsServiceResolved(
    _: DNSServiceRef?, _: DNSServiceFlags, _: UInt32, code: DNSServiceErrorType, _: UnsafePointer<CChar>?,
    target: UnsafePointer<CChar>?, port: UInt16, count: UInt16, text: UnsafePointer<UInt8>?,
    context: UnsafeMutableRawPointer?
) {
    guard code == 0, let target else {
        DNSServiceReference.append(.failed(code), to: context)
        return
    }
    let bytes = Array(UnsafeBufferPointer(start: text, count: text == nil ? 0 : Int(count)))
    DNSServiceReference.append(
        .resolved(target: String(cString: target), port: Int(UInt16(bigEndian: port)), text: bytes), to: context)
}

func dnsServiceQueried(
    _: DNSServiceRef?, _: DNSServiceFlags, _: UInt32, code: DNSServiceErrorType, _: UnsafePointer<CChar>?,
    type: UInt16, _: UInt16, count: UInt16, data: UnsafeRawPointer?, _: UInt32, context: UnsafeMutableRawPointer?
) {
    guard code == 0, let data else {
        DNSServiceReference.append(.failed(code), to: context)
        return
    }
    let bytes = Array(UnsafeRawBufferPointer(start: data, count: Int(count)))
    DNSServiceReference.append(.record(type: type, data: bytes), to: context)
}
