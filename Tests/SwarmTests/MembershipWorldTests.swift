import Core
import Swarm
import Testing

/// Detection times, false alarms and recovery, in virtual time (swarm.md §6, I18, I19).
@Suite struct MembershipWorldTests {
    @Test("Hosts that meet hold one another for alive", arguments: [2, 3, 10, 30], [1] as [UInt64])
    func meet(count: Int, seed: UInt64) {
        var world = MembershipWorld(hosts: count, seed: seed)
        world.run(until: .seconds(6))
        #expect(world.isWhole)
        #expect(world.changes.allSatisfy { $0.state == .alive })
    }

    @Test("Process death is known to all of 10 hosts within a second")
    func death() {
        var times: [Duration] = []
        for seed in 0..<10 as Range<UInt64> {
            var world = MembershipWorld(hosts: 10, seed: seed)
            world.run(until: .seconds(10) + .milliseconds(Int(seed) * 37))
            let moment = world.now
            world.kill(3)
            world.run(for: .seconds(5))
            times.append(contentsOf: knowledge(of: 3, .dead, since: moment, world, observers: 9))
            #expect(falseDeaths(world, except: [3]) == 0)
        }
        report("death", times)
        #expect(percentile(times, 99) < .seconds(1))
    }

    @Test("A frozen host is dead to all of 10 within 4 s, and comes back by itself")
    func freeze() {
        var times: [Duration] = []
        for seed in 0..<10 as Range<UInt64> {
            var world = MembershipWorld(hosts: 10, seed: seed)
            world.run(until: .seconds(10) + .milliseconds(Int(seed) * 37))
            let moment = world.now
            world.freeze(3, for: .seconds(12))
            world.run(for: .seconds(12))
            times.append(contentsOf: knowledge(of: 3, .dead, since: moment, world, observers: 9))
            world.run(for: .seconds(20))
            #expect(world.isWhole, "seed \(seed): it did not come back")
            #expect(falseDeaths(world, except: [3]) == 0, "seed \(seed): the frozen host took others for dead")
        }
        report("frozen", times)
        #expect(percentile(times, 99) < .seconds(4))
    }

    @Test("With two and three hosts death and frost are seen as fast", arguments: [2, 3])
    func few(count: Int) {
        var deaths: [Duration] = []
        var frosts: [Duration] = []
        for seed in 0..<8 as Range<UInt64> {
            for isFrost in [false, true] {
                var world = MembershipWorld(hosts: count, seed: seed)
                world.run(until: .seconds(8) + .milliseconds(Int(seed) * 61))
                let moment = world.now
                if isFrost { world.freeze(0, for: .seconds(30)) } else { world.kill(0) }
                world.run(for: .seconds(10))
                let known = knowledge(of: 0, .dead, since: moment, world, observers: count - 1)
                if isFrost { frosts += known } else { deaths += known }
            }
        }
        report("death of \(count)", deaths)
        report("frost of \(count)", frosts)
        #expect(percentile(deaths, 99) < .seconds(1))
        #expect(percentile(frosts, 99) < .seconds(4))
    }

    @Test("A host that leaves is known to have left, not to have died")
    func leave() {
        var world = MembershipWorld(hosts: 10, seed: 5)
        world.run(until: .seconds(8))
        world.leave(4)
        world.run(for: .seconds(3))
        for observer in 0..<10 where observer != 4 { #expect(world.state(of: 4, at: observer) == .left) }
    }

    @Test("Two that no longer reach one another hold one another for alive: others vouch", arguments: [3, 10])
    func blocked(count: Int) {
        var world = MembershipWorld(hosts: count, seed: 21)
        world.run(until: .seconds(8))
        world.block(0, 1)
        world.run(for: .seconds(60))
        #expect(world.changes.allSatisfy { $0.state == .alive })
    }

    @Test("A slow network, up to 400 ms each way, kills nobody")
    func slow() {
        var world = MembershipWorld(hosts: 10, seed: 22)
        world.latency = 0.01...0.4
        world.run(until: .seconds(60))
        #expect(falseDeaths(world, except: []) == 0)
        #expect(world.isWhole)
    }

    @Test("Partitions heal: nobody alive stays dead", arguments: 0..<3 as Range<UInt64>)
    func partition(seed: UInt64) {
        var world = MembershipWorld(hosts: 10, seed: seed)
        world.run(until: .seconds(8))
        world.partition(at: 4)
        world.run(for: .seconds(90))
        #expect(world.state(of: 0, at: 9) == .dead)
        #expect(world.state(of: 9, at: 0) == .dead)
        #expect(world.state(of: 1, at: 0) == .alive)
        world.heal()
        let healed = world.now
        while !world.isWhole, world.now < healed + .seconds(60) { world.run(for: .milliseconds(100)) }
        report("healed after", [world.now - healed])
        #expect(world.isWhole)
    }

    @Test("A host that starts again is alive again, under a new incarnation")
    func restart() {
        var world = MembershipWorld(hosts: 5, seed: 9)
        world.run(until: .seconds(8))
        world.kill(2)
        world.run(for: .seconds(3))
        world.restart(2)
        world.run(for: .seconds(3))
        #expect(world.isWhole)
        #expect(world.clones.isEmpty)
    }

    @Test("A host with half of its processor time does not take others for dead; with plain SWIM it does")
    func starvation() {
        var others: [Bool: Int] = [:]
        var itself: [Bool: Int] = [:]
        for isLifeguard in [true, false] {
            var tuning = Membership.Tuning()
            tuning.isLifeguard = isLifeguard
            for seed in 0..<2 as Range<UInt64> {
                for pause in [Duration.milliseconds(300), .seconds(2), .seconds(6)] {
                    var world = MembershipWorld(hosts: 10, seed: seed, tuning: tuning)
                    world.run(until: .seconds(5))
                    world.starve(2, pause: pause)
                    world.run(for: .seconds(60))
                    others[isLifeguard, default: 0] += falseDeaths(world, except: [2])
                    // One that stands still for longer is rightly taken for dead.
                    if pause <= .seconds(2) { itself[isLifeguard, default: 0] += falseDeaths(world, except: []) }
                }
            }
        }
        print("measured: false deaths in 6 minutes, one of 10 hosts starved: of others \(others), of itself \(itself)")
        #expect(others[true] == 0)
        #expect(itself[true] == 0)
        #expect((others[false] ?? 0) >= 10)
    }

    @Test("Idle, the machines say next to nothing")
    func idle() {
        var world = MembershipWorld(hosts: 10, seed: 3)
        world.run(until: .seconds(20))
        let (messages, bytes) = (world.messages, world.bytes)
        world.run(for: .seconds(120))
        let perLink = Double(world.bytes - bytes) / 120 / 45
        print("measured: idle, 10 hosts: \(world.messages - messages) messages in 120 s, \(perLink) B/s and link")
        #expect(perLink < 2)
    }

    // MARK: - Measures

    private func knowledge(
        of subject: Int, _ state: Member.State, since moment: Duration, _ world: MembershipWorld, observers: Int
    ) -> [Duration] {
        var times: [Int: Duration] = [:]
        for change in world.changes where change.subject == subject && change.state == state && change.time >= moment {
            if times[change.observer] == nil { times[change.observer] = change.time - moment }
        }
        // Who never learns it counts as an hour.
        return Array(times.values) + Array(repeating: .seconds(3600), count: observers - times.count)
    }

    private func falseDeaths(_ world: MembershipWorld, except: Set<Int>) -> Int {
        world.changes.count { $0.state == .dead && !except.contains($0.subject) }
    }

    private func percentile(_ times: [Duration], _ percent: Int) -> Duration {
        let sorted = times.sorted()
        return sorted.isEmpty ? .seconds(3600) : sorted[min(sorted.count - 1, sorted.count * percent / 100)]
    }

    private func report(_ name: String, _ times: [Duration]) {
        let (middle, high, last) = (percentile(times, 50), percentile(times, 99), percentile(times, 100))
        print("measured: \(name): p50 \(middle), p99 \(high), max \(last)")
    }
}
