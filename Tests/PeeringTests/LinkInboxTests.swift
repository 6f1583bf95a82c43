import Core
import Testing

@testable import Peering

@Suite(.timeLimit(.minutes(1))) struct LinkInboxTests {
    @Test("Messages come out in the order in which they went in, then the end")
    func order() async throws {
        let inbox = LinkInbox()
        for byte in 0..<10 as Range<UInt8> { _ = inbox.push([byte]) }
        inbox.finish(nil)
        for byte in 0..<10 as Range<UInt8> { #expect(try await inbox.next {} == [byte]) }
        #expect(try await inbox.next {} == nil)
        #expect(try await inbox.next {} == nil)
    }

    @Test("A break is told behind the last message")
    func breakComesLast() async throws {
        let inbox = LinkInbox()
        _ = inbox.push([1])
        inbox.finish(LinkFailure(.closed, "gone"))
        #expect(try await inbox.next {} == [1])
        await #expect(throws: LinkFailure.self) { try await inbox.next {} }
    }

    @Test("A full inbox asks for more only when half of it is read")
    func fullness() async throws {
        let inbox = LinkInbox()
        let message = [UInt8](repeating: 0, count: Limits.linkInboxBytes / 8)
        var pushed = 0
        repeat { pushed += 1 } while inbox.push(message)
        #expect(pushed == 9)
        var asked = 0
        for count in 1...pushed {
            _ = try await inbox.next { asked += 1 }
            #expect(asked == (count >= 5 ? 1 : 0), "after \(count)")
        }
    }

    @Test("A waiting reader gets the message, the end, or its cancellation")
    func waiting() async throws {
        let inbox = LinkInbox()
        let reader = Task { try await inbox.next {} }
        _ = inbox.push([7])
        #expect(try await reader.value == [7])
        let cancelled = Task { try await inbox.next {} }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        let last = Task { try await inbox.next {} }
        inbox.finish(nil)
        #expect(try await last.value == nil)
    }
}
