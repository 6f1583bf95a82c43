import Core
import Swarm
import Testing

@Suite(.timeLimit(.minutes(2))) struct RequestWorldTests {
    /// Kills, restarts and splits for a while, then peace: each request has ended, with the same result on every host.
    @Test("Each request ends with one result, the same everywhere", arguments: 0..<40)
    func exactlyOnce(seed: UInt64) throws {
        var world = RequestWorld(seed: seed, hosts: 4)
        for _ in 0..<30 { world.step() }
        for round in 0..<200 {
            let host = Int.random(in: 0..<4, using: &world.generator)
            switch Int.random(in: 0..<24, using: &world.generator) {
            case 0: if world.hosts[host].isUp { world.kill(host) }
            case 1, 2: if !world.hosts[host].isUp { world.start(host) }
            case 3: world.hosts[host].side = Int.random(in: 0...1, using: &world.generator)
            case 4: for each in 0..<4 { world.hosts[each].side = 0 }
            case 5...7 where world.hosts[host].isUp && round < 150:
                world.open(on: host, deadline: world.wall + UInt64.random(in: 500...60_000, using: &world.generator))
            case 8 where world.hosts[host].isUp && Int.random(in: 0..<5, using: &world.generator) == 0:
                if let request = world.opened.last, world.hosts[host].keeper.record(request) != nil {
                    let note = RequestNote(.cancelled, of: request, instance: world.hosts[host].keeper.instance)
                    world.write(note, on: host)
                }
            default: break
            }
            world.step()
        }
        world.heal()
        // Settling, patience, a repetition for each attempt that a disk refused, and the longest run.
        for _ in 0..<600 where world.hosts.contains(where: { $0.keeper.open > 0 }) { world.step() }
        for _ in 0..<60 { world.step() }
        for request in world.opened {
            let records = world.hosts.map { $0.keeper.record(request) }
            let ends = Set(records.map { $0?.ended?.note })
            #expect(ends.count == 1 && ends.first != .some(nil), "seed \(seed), \(request): \(ends)")
            let results = Set(
                world.hosts[0].log.filter {
                    $0.kind == .request && (try? RequestNote.decode($0.body))?.kind == .ended
                        && (try? RequestNote.decode($0.body))?.request == request
                }.map(\.dot))
            let record = try #require(records[0])
            #expect(results == record.discarded.union([try #require(record.ended?.note)]))
        }
        #expect(world.hosts.allSatisfy { $0.runs.isEmpty })
    }

    /// Nothing is run twice while all hosts see each other.
    @Test("Without faults each request is run once", arguments: 0..<20)
    func once(seed: UInt64) {
        var world = RequestWorld(seed: seed, hosts: 3)
        for _ in 0..<40 { world.step() }
        for _ in 0..<20 {
            world.open(on: Int.random(in: 0..<3, using: &world.generator), deadline: .max)
            for _ in 0..<3 { world.step() }
        }
        for _ in 0..<100 { world.step() }
        #expect(world.runsBegun == 20)
        #expect(world.hosts.allSatisfy { host in host.keeper.open == 0 })
        #expect(
            world.opened.allSatisfy { request in
                world.hosts.allSatisfy { $0.keeper.record(request)?.discarded.isEmpty == true }
            })
    }
}
