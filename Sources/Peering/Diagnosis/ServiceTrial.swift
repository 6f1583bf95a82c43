import CDNSSD
import Glibc

/// Asks the mDNS daemon for services of ours and notes what it shows: on this machine's own service it can be seen that
/// all of the chain works.
enum ServiceTrial {
    /// Blocks for about `patience`, or as long as a daemon that hangs makes it.
    static func run(patience: Duration) -> ServiceFacts {
        var facts = ServiceFacts()
        facts.hasSystemBus = TextFile.exists("/run/dbus/system_bus_socket")
        facts.isPort5353Open = Processes.isUDPPortOpen(5353)
        facts.responders = Processes.holders(ofUDPPort: 5353)
        guard let library = DNSServiceLibrary() else { return facts }
        facts.hasLibrary = true
        let replies = ReplyLog()
        let context = Unmanaged.passUnretained(replies).toOpaque()
        var reference: DNSServiceRef?
        facts.browseCode = library.browse(&reference, 0, 0, ServiceRecord.type, nil, serviceTrialBrowsed, context)
        guard facts.browseCode == 0, reference != nil else { return facts }
        defer { library.deallocate(reference) }
        let deadline = ContinuousClock.now + patience
        while replies.failure == nil {
            let left = Int32(clamping: (deadline - .now).wholeMilliseconds)
            var polled = pollfd(fd: library.descriptor(reference), events: Int16(POLLIN), revents: 0)
            guard left > 0, poll(&polled, 1, left) > 0 else { break }
            if library.processResult(reference) != 0 { break }
        }
        facts.browseCode = replies.failure ?? 0
        facts.names = replies.names.sorted()
        return withExtendedLifetime(replies) { facts }
    }
}

private final class ReplyLog {
    var names: Set<String> = []
    var failure: Int32?
}

private func serviceTrialBrowsed(
    _: DNSServiceRef?, flags: DNSServiceFlags, _: UInt32, code: DNSServiceErrorType, name: UnsafePointer<CChar>?,
    _: UnsafePointer<CChar>?, _: UnsafePointer<CChar>?, context: UnsafeMutableRawPointer?
) {
    guard let context else { return }
    let replies = Unmanaged<ReplyLog>.fromOpaque(context).takeUnretainedValue()
    guard code == 0, let name else {
        replies.failure = code
        return
    }
    if flags & DNSServiceFlags(kDNSServiceFlagsAdd) != 0, replies.names.count < 1_000 {
        replies.names.insert(String(cString: name))
    }
}
