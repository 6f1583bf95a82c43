import Core
import Glibc
import NIOCore
import Testing

@testable import Engine

@Suite struct ServerSocketTests {
    @Test("A socket can be connected to, however long the name of the folder that was meant for it")
    func lengths() throws {
        var chosen = 0
        for length in 60...110 {
            let place = "/tmp/" + String(repeating: "x", count: length - 5)
            try #require(mkdir(place, 0o700) == 0)
            defer { rmdir(place) }
            let socket = try ServerSocket(places: [place])
            defer { socket.remove() }
            #expect(throws: Never.self) { try SocketAddress(unixDomainSocketPath: socket.path) }
            if socket.path.hasPrefix(place) { chosen += 1 }
        }
        // 27 bytes follow.
        #expect(chosen == 103 - 27 - 60 + 1)
    }
}
