import Core
import Swarm

/// For the museum: a host that does not hear what is said of it.
extension MembershipMessage {
    func without(_ node: NodeID) -> MembershipMessage {
        func kept(_ claims: [MembershipClaim]) -> [MembershipClaim] {
            claims.filter { claim in
                switch claim {
                case .own: true
                case .suspect(let other, _, _), .dead(let other, _, _): other != node
                }
            }
        }
        return switch self {
        case .ping(let token, let claims): .ping(token, kept(claims))
        case .ack(let token, let claims): .ack(token, kept(claims))
        case .indirectPing(let token, let target, let claims): .indirectPing(token, target, kept(claims))
        case .nack(let token, let claims): .nack(token, kept(claims))
        case .gossip(let claims): .gossip(kept(claims))
        case .table(let entries): .table(entries.filter { $0.node != node })
        case .digest, .request: self
        }
    }
}
