import CDNSSD
import Glibc

/// The calls of `dns_sd.h` that Avahi's compatibility library answers, found at run time: the program starts without
/// it, and multicast beacons find peers then.
struct DNSServiceLibrary: Sendable {
    typealias Register =
        @convention(c) (
            UnsafeMutablePointer<DNSServiceRef?>, DNSServiceFlags, UInt32, UnsafePointer<CChar>?,
            UnsafePointer<CChar>?, UnsafePointer<CChar>?, UnsafePointer<CChar>?, UInt16, UInt16, UnsafeRawPointer?,
            DNSServiceRegisterReply?, UnsafeMutableRawPointer?
        ) -> DNSServiceErrorType
    typealias Browse =
        @convention(c) (
            UnsafeMutablePointer<DNSServiceRef?>, DNSServiceFlags, UInt32, UnsafePointer<CChar>?,
            UnsafePointer<CChar>?, DNSServiceBrowseReply?, UnsafeMutableRawPointer?
        ) -> DNSServiceErrorType
    typealias Resolve =
        @convention(c) (
            UnsafeMutablePointer<DNSServiceRef?>, DNSServiceFlags, UInt32, UnsafePointer<CChar>?,
            UnsafePointer<CChar>?, UnsafePointer<CChar>?, DNSServiceResolveReply?, UnsafeMutableRawPointer?
        ) -> DNSServiceErrorType
    typealias QueryRecord =
        @convention(c) (
            UnsafeMutablePointer<DNSServiceRef?>, DNSServiceFlags, UInt32, UnsafePointer<CChar>?, UInt16, UInt16,
            DNSServiceQueryRecordReply?, UnsafeMutableRawPointer?
        ) -> DNSServiceErrorType
    typealias UpdateRecord =
        @convention(c) (
            DNSServiceRef?, DNSRecordRef?, DNSServiceFlags, UInt16, UnsafeRawPointer?, UInt32
        ) -> DNSServiceErrorType

    let register: Register
    let browse: Browse
    let resolve: Resolve
    let queryRecord: QueryRecord
    let updateRecord: UpdateRecord
    let descriptor: @convention(c) (DNSServiceRef?) -> Int32
    let processResult: @convention(c) (DNSServiceRef?) -> DNSServiceErrorType
    let deallocate: @convention(c) (DNSServiceRef?) -> Void

    static let fileName = "libdns_sd.so.1"

    /// Nil where the library is not installed. It stays loaded: its threads may outlive every reference.
    init?() {
        // Avahi's library prints three lines of advice to the developer at its first call otherwise.
        setenv("AVAHI_COMPAT_NOWARN", "1", 0)
        guard let handle = dlopen(Self.fileName, RTLD_NOW | RTLD_LOCAL),
            let register = dlsym(handle, "DNSServiceRegister"), let browse = dlsym(handle, "DNSServiceBrowse"),
            let resolve = dlsym(handle, "DNSServiceResolve"), let query = dlsym(handle, "DNSServiceQueryRecord"),
            let update = dlsym(handle, "DNSServiceUpdateRecord"),
            let descriptor = dlsym(handle, "DNSServiceRefSockFD"),
            let process = dlsym(handle, "DNSServiceProcessResult"),
            let deallocate = dlsym(handle, "DNSServiceRefDeallocate")
        else { return nil }
        self.register = unsafeBitCast(register, to: Register.self)
        self.browse = unsafeBitCast(browse, to: Browse.self)
        self.resolve = unsafeBitCast(resolve, to: Resolve.self)
        queryRecord = unsafeBitCast(query, to: QueryRecord.self)
        updateRecord = unsafeBitCast(update, to: UpdateRecord.self)
        self.descriptor = unsafeBitCast(descriptor, to: (@convention(c) (DNSServiceRef?) -> Int32).self)
        processResult = unsafeBitCast(process, to: (@convention(c) (DNSServiceRef?) -> DNSServiceErrorType).self)
        self.deallocate = unsafeBitCast(deallocate, to: (@convention(c) (DNSServiceRef?) -> Void).self)
    }
}
