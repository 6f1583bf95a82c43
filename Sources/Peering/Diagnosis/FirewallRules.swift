/// What the listing of a firewall (`nft list ruleset`, `iptables -S`) says about datagrams and connections that come
/// in: pure. It reads for the usual shapes, not as the kernel would: a check that it feeds says "may".
struct FirewallRules: Hashable, Sendable {
    enum Transport: String, Hashable, Sendable {
        case udp
        case tcp
    }

    /// Chains that see what comes in and drop what no rule accepts.
    var droppingChains: [String] = []
    private var accepted: Set<Opening> = []
    private var refused: Set<Opening> = []
    /// Who maintains the rules, as far as their names tell.
    var manager: Manager?

    enum Manager: String, Hashable, Sendable {
        case ufw
        case firewalld
    }

    private struct Opening: Hashable {
        var transport: Transport
        var port: ClosedRange<Int>
    }

    func accepts(_ transport: Transport, _ port: Int) -> Bool {
        accepted.contains { $0.transport == transport && $0.port.contains(port) }
    }

    func refuses(_ transport: Transport, _ port: Int) -> Bool {
        refused.contains { $0.transport == transport && $0.port.contains(port) }
    }

    /// `nft list ruleset`
    init(nft listing: String) {
        var chain = ""
        var isInput = false
        for line in listing.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            if words.first == "chain" {
                chain = words.dropFirst().first.map(String.init) ?? ""
                isInput = chain.lowercased().contains("input")
            } else if words.first == "type", words.contains("hook") {
                isInput = words.contains("input")
                if isInput, Self.follows("policy", "drop", in: words) { droppingChains.append(chain) }
            } else if isInput || chain.lowercased().contains("ufw") {
                read(rule: words, verdicts: words)
            }
        }
        manager = Self.manager(of: listing)
    }

    /// `iptables -S`
    init(iptables listing: String) {
        for line in listing.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.starts(with: ["-P", "INPUT", "DROP"]) { droppingChains.append("INPUT") }
            guard words.first == "-A", words.dropFirst().first?.lowercased().contains("input") == true else { continue }
            let verdict = zip(words, words.dropFirst()).first { $0.0 == "-j" }?.1
            read(rule: words, verdicts: verdict.map { [$0] } ?? [])
        }
        manager = Self.manager(of: listing)
    }

    mutating func merge(_ other: FirewallRules) {
        droppingChains += other.droppingChains.filter { !droppingChains.contains($0) }
        accepted.formUnion(other.accepted)
        refused.formUnion(other.refused)
        manager = manager ?? other.manager
    }

    private mutating func read(rule words: [Substring], verdicts: [Substring]) {
        let isAccept = verdicts.contains { ["accept", "ACCEPT"].contains($0) }
        let isRefusal = verdicts.contains { ["drop", "reject", "DROP", "REJECT"].contains($0) }
        guard isAccept != isRefusal else { return }
        for transport in [Transport.udp, .tcp] where words.contains(Substring(transport.rawValue)) {
            for port in Self.ports(of: words) {
                let opening = Opening(transport: transport, port: port)
                if isAccept { accepted.insert(opening) } else { refused.insert(opening) }
            }
        }
    }

    /// What stands behind `dport`, `--dport` or `--dports`: `80`, `80-90`, `80:90`, `{ 80, 443 }`, `80,443`.
    private static func ports(of words: [Substring]) -> [ClosedRange<Int>] {
        guard let at = words.firstIndex(where: { ["dport", "--dport", "--dports"].contains($0) }) else { return [] }
        var ranges: [ClosedRange<Int>] = []
        var isSet = false
        for word in words[(at + 1)...] {
            if word == "{" {
                isSet = true
                continue
            }
            if word == "}" || word == "!=" { break }
            for part in word.split(separator: ",") {
                let bounds = part.split(whereSeparator: { $0 == "-" || $0 == ":" }).map { Int($0) }
                guard let first = bounds.first ?? nil, let last = bounds.last ?? nil, first <= last else { continue }
                ranges.append(first...last)
            }
            if !isSet { break }
        }
        return ranges
    }

    private static func follows(_ first: Substring, _ second: String, in words: [Substring]) -> Bool {
        zip(words, words.dropFirst()).contains { $0 == first && $1.trimmingSemicolon == second }
    }

    private static func manager(of listing: String) -> Manager? {
        if listing.contains("ufw") { return .ufw }
        return listing.contains("firewalld") || listing.contains("filter_IN_") ? .firewalld : nil
    }
}

extension Substring {
    fileprivate var trimmingSemicolon: Substring { hasSuffix(";") ? dropLast() : self }
}
