import Core
import Synchronization

/// Both ends of a loan's link say once a second that they are there. A host that is frozen or cut off is noticed by
/// its silence: TCP alone would wait for minutes, and the program at this end for ever.
final class Heartbeat: Sendable {
    private let link: any PeerLink
    private let clock = ContinuousClock()
    private let heard = Mutex(ContinuousClock.now)

    private init(_ link: any PeerLink) { self.link = link }

    /// Beats until the link ends or the other side falls silent; returns why.
    static func keep(_ link: any PeerLink) async -> String {
        let heart = Heartbeat(link)
        return await withTaskGroup(of: String.self) { group in
            group.addTask { await heart.listen() }
            group.addTask { await heart.beat() }
            defer { group.cancelAll() }
            return await group.next() ?? ""
        }
    }

    private func listen() async -> String {
        do {
            for try await bytes in link.messages() {
                heard.withLock { $0 = clock.now }
                if case .refused(let reason) = try TunnelMessage(decoding: bytes) { return reason }
            }
            return "it closed the tunnel"
        } catch let error as RuntimeError {
            return error.message
        } catch {
            return "the connection with it broke"
        }
    }

    private func beat() async -> String {
        while !Task.isCancelled {
            link.send(TunnelMessage.beat.encoded)
            try? await Task.sleep(for: Limits.tunnelBeat)  // cancelled with the group
            let silence = clock.now - heard.withLock { $0 }
            if silence > Limits.tunnelSilence { return "it has not been heard of for \(silence.components.seconds) s" }
        }
        return "it is no longer wanted"
    }
}
