import Core
internal import Synchronization

/// Who writes an answer at present.
final class Serving: Sendable {
    private let state: Mutex<(node: NodeID, reason: String)>

    init(_ place: Place) { state = Mutex((place.node, place.reason)) }

    func move(to place: Place, _ reason: String) { state.withLock { $0 = (place.node, reason) } }

    var node: NodeID { state.withLock { $0.node } }
    var reason: String { state.withLock { $0.reason } }
}
