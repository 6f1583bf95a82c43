/// One thing that is done to the world, at a time drawn before the run begins.
enum Nemesis {
    case block([Network.Pair])
    case unblock([Network.Pair])
    /// All connections between two hosts break.
    case reset(Int, Int)
    case freeze(Int, until: Duration)
    case kill(Int)
    case powerCut(Int)
    case start(Int)
    case copyDisk(Int)
    /// A start from the disk's last copy; the host is off by then.
    case rollBack(Int)
    /// A copy of the host's disk comes up as another machine.
    case clone(of: Int)
    /// The clone is found and switched off.
    case removeClone
    case slowDisk(Int, Duration)
    case fullDisk(Int, Bool)
    case jumpClock(Int, milliseconds: Int64)
    case slowReader(Int, bytesPerSecond: Int?)
    case starve(Int, Bool)
    case rotate(Int)
    case evict(Int, by: Int)
    /// Everything is repaired, and from here on the swarm must recover.
    case heal
}

extension Nemesis {
    /// Draws what happens before the healing.
    ///
    /// - Parameter hosts: those that may be harmed, without foreign ones and clones.
    static func plan(
        _ faults: Faults, hosts: Int, until end: Duration, _ chance: inout Chance
    ) -> [(time: Duration, nemesis: Nemesis)] {
        var plan: [(time: Duration, nemesis: Nemesis)] = []
        /// A moment in the faulty part of the run.
        func moment(_ chance: inout Chance) -> Duration { chance.between(.seconds(2), end) }
        func add(_ nemesis: Nemesis, at time: Duration) { plan.append((min(time, end), nemesis)) }
        let everyone = Array(0..<hosts)

        if faults.contains(.partitions) {
            for _ in 0...chance.below(3) {
                let begin = moment(&chance)
                let isIsland = Set(chance.shuffled(everyone).prefix(1 + chance.below(max(1, hosts / 2))))
                let pairs = Self.pairs(everyone) { isIsland.contains($0) != isIsland.contains($1) }
                add(.block(pairs), at: begin)
                add(.unblock(pairs), at: begin + chance.between(.milliseconds(100), .seconds(15)))
            }
        }
        if faults.contains(.oneWay) {
            for _ in 0...chance.below(3) {
                let begin = moment(&chance)
                let victim = chance.below(hosts)
                let isDeaf = chance.hits(1, of: 2)
                let others = Set(chance.shuffled(everyone).prefix(1 + chance.below(hosts)))
                let pairs = Self.pairs(everyone) {
                    isDeaf ? $1 == victim && others.contains($0) : $0 == victim && others.contains($1)
                }
                add(.block(pairs), at: begin)
                add(.unblock(pairs), at: begin + chance.between(.milliseconds(100), .seconds(15)))
            }
        }
        if faults.contains(.swizzle) {
            let begin = moment(&chance)
            let step = chance.between(.milliseconds(50), .seconds(2))
            var time = begin
            for host in chance.shuffled(everyone) {
                add(.block(Self.pairs(everyone) { $0 == host || $1 == host }), at: time)
                time += step
            }
            for host in chance.shuffled(everyone) {
                add(.unblock(Self.pairs(everyone) { $0 == host || $1 == host }), at: time)
                time += step
            }
        }
        if faults.contains(.resets) {
            for _ in 0..<3 + chance.below(20) {
                let first = chance.below(hosts)
                add(.reset(first, (first + 1 + chance.below(max(1, hosts - 1))) % hosts), at: moment(&chance))
            }
        }
        if faults.contains(.pauses) {
            for _ in 0...chance.below(4) {
                let begin = moment(&chance)
                let until = begin + chance.between(.milliseconds(50), .seconds(chance.hits(1, of: 3) ? 20 : 4))
                add(.freeze(chance.below(hosts), until: min(until, end)), at: begin)
            }
        }
        if faults.contains(.kills) {
            for _ in 0...chance.below(6) {
                let host = chance.below(hosts)
                let begin = moment(&chance)
                add(.kill(host), at: begin)
                add(.start(host), at: begin + chance.between(.milliseconds(200), .seconds(8)))
            }
        }
        if faults.contains(.powerCuts) {
            for _ in 0...chance.below(3) {
                let host = chance.below(hosts)
                let begin = moment(&chance)
                add(.powerCut(host), at: begin)
                add(.start(host), at: begin + chance.between(.milliseconds(500), .seconds(10)))
            }
        }
        if faults.contains(.rollbacks) {
            let host = chance.below(hosts)
            let copied = moment(&chance)
            let begin = chance.between(copied, end)
            add(.copyDisk(host), at: copied)
            add(.powerCut(host), at: begin)
            add(.rollBack(host), at: begin + chance.between(.milliseconds(500), .seconds(3)))
        }
        if faults.contains(.clones) {
            let begin = moment(&chance)
            add(.clone(of: chance.below(hosts)), at: begin)
            add(.removeClone, at: end)
        }
        if faults.contains(.slowDisks) {
            for _ in 0...chance.below(3) {
                let host = chance.below(hosts)
                let begin = moment(&chance)
                add(.slowDisk(host, chance.between(.milliseconds(20), .seconds(1))), at: begin)
                add(.slowDisk(host, .milliseconds(4)), at: begin + chance.between(.seconds(1), .seconds(10)))
            }
        }
        if faults.contains(.fullDisks) {
            for _ in 0...chance.below(3) {
                let host = chance.below(hosts)
                let begin = moment(&chance)
                add(.fullDisk(host, true), at: begin)
                add(.fullDisk(host, false), at: begin + chance.between(.milliseconds(100), .seconds(8)))
            }
        }
        if faults.contains(.clocks) {
            for _ in 0..<chance.below(5) {
                let day: Int64 = 86_400_000
                let jump = [500, 30_000, 90_000, 3_600_000, 365 * day][chance.below(5)]
                add(
                    .jumpClock(chance.below(hosts), milliseconds: chance.hits(1, of: 2) ? jump : -jump),
                    at: moment(&chance))
            }
        }
        if faults.contains(.slowPeers) {
            let host = chance.below(hosts)
            add(.slowReader(host, bytesPerSecond: 500 << chance.below(6)), at: moment(&chance))
        }
        if faults.contains(.starvation) {
            add(.starve(chance.below(hosts), true), at: moment(&chance))
        }
        if faults.contains(.rotations) {
            for _ in 0...chance.below(3) {
                let begin = moment(&chance)
                add(.rotate(chance.below(hosts)), at: begin)
                guard chance.hits(1, of: 2) else { continue }
                let away = chance.below(hosts)
                add(.kill(away), at: begin - chance.between(.zero, .seconds(2)))
                add(.start(away), at: begin + chance.between(.seconds(1), .seconds(20)))
            }
            if hosts > 3, chance.hits(1, of: 2) {
                let victim = chance.below(hosts)
                add(.evict(victim, by: (victim + 1 + chance.below(hosts - 1)) % hosts), at: moment(&chance))
            }
        }
        plan.append((end, .heal))
        return plan
    }

    private static func pairs(_ hosts: [Int], where isCut: (Int, Int) -> Bool) -> [Network.Pair] {
        hosts.flatMap { from in
            hosts.filter { $0 != from && isCut(from, $0) }.map { Network.Pair(from: from, to: $0) }
        }
    }
}
