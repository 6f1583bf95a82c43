import Core
import Testing

@testable import Node

/// The shelf by hand: events in, actions out.
@Suite struct ModelShelfTests {
    private typealias Action = ModelShelf.Action
    private static let start = ContinuousClock().now

    private static func at(_ seconds: Int) -> ModelShelf.Instant { start + .seconds(seconds) }

    /// Three models of 40 each, of which two fit.
    private static func shelf(
        _ keepAlive: KeepAlive = .loaded(.seconds(600)), budget: Int = 100, loadsAtStart: Bool = false
    ) -> ModelShelf {
        var shelf = ModelShelf(budget: budget)
        for (place, name) in ["a", "b", "c"].enumerated() {
            shelf.added(place, name: name, keepAlive: keepAlive, loadsAtStart: loadsAtStart, at: start)
        }
        return shelf
    }

    /// With the model loaded for a request that has ended.
    private static func load(_ place: Int, _ shelf: inout ModelShelf, at seconds: Int) -> [Action] {
        let request = UInt64(1_000 + seconds)
        var actions = shelf.requested(request, of: place, estimate: 40, at: at(seconds))
        actions += shelf.loaded(place, measured: 40, at: at(seconds))
        return actions + shelf.released(place, keepAlive: nil, at: at(seconds))
    }

    private static func refusal(_ actions: [Action]) -> ModelShelf.Refusal? {
        for case .refuse(_, let refusal) in actions { return refusal }
        return nil
    }

    @Test func requestsShareOneLoadAndAllAreAdmittedByIt() {
        var shelf = Self.shelf()
        #expect(shelf.requested(1, of: 0, estimate: 40, at: Self.at(0)) == [.load(0)])
        #expect(shelf.requested(2, of: 0, estimate: 40, at: Self.at(1)) == [])
        #expect(shelf.loaded(0, measured: 40, at: Self.at(2)) == [.admit(1, 0), .admit(2, 0)])
        #expect(shelf.requested(3, of: 0, at: Self.at(3)) == [.admit(3, 0)])
        #expect(shelf.books[0]?.users == 3)
    }

    @Test func anIdleModelGoesWhenItsTimeIsOverAndALateTimerDoesNothing() {
        var shelf = Self.shelf()
        let actions = Self.load(0, &shelf, at: 0)
        guard case .schedule(0, let token, .seconds(600)) = actions.last else {
            Issue.record("no timer: \(actions)")
            return
        }
        #expect(shelf.books[0]?.expires == Self.at(600))
        // Used again: the first timer is late, a second one follows.
        _ = shelf.requested(5, of: 0, at: Self.at(100))
        #expect(shelf.expired(0, token: token, at: Self.at(600)) == [])
        guard case .schedule(0, let second, _) = shelf.released(0, keepAlive: nil, at: Self.at(650)).last else {
            Issue.record("no second timer")
            return
        }
        #expect(shelf.expired(0, token: token, at: Self.at(700)) == [])
        #expect(shelf.expired(0, token: second, at: Self.at(1_250)) == [.unload(0, reason: .idle)])
        #expect(shelf.unloaded(0, at: Self.at(1_251)) == [])
        #expect(shelf.books[0]?.phase == .unloaded)
        #expect(shelf.held == 0)
    }

    @Test(arguments: [
        (KeepAlive.unloaded, [Action.unload(0, reason: .asked)]), (.forever, []),
        (.loaded(.seconds(5)), [.schedule(0, token: 2, after: .seconds(5))]),
    ])
    func aRequestSaysHowLongItsModelStays(wish: KeepAlive, expected: [ModelShelf.Action]) {
        var shelf = Self.shelf()
        _ = shelf.requested(1, of: 0, estimate: 40, at: Self.at(0))
        _ = shelf.loaded(0, measured: 40, at: Self.at(1))
        #expect(shelf.released(0, keepAlive: wish, at: Self.at(2)) == expected)
    }

    @Test func theLastOfSeveralAnswersEndsTheUse() {
        var shelf = Self.shelf()
        _ = shelf.requested(1, of: 0, estimate: 40, at: Self.at(0))
        _ = shelf.requested(2, of: 0, estimate: 40, at: Self.at(0))
        _ = shelf.loaded(0, measured: 40, at: Self.at(1))
        #expect(shelf.released(0, keepAlive: .unloaded, at: Self.at(2)) == [])
        #expect(shelf.released(0, keepAlive: nil, at: Self.at(3)) == [.unload(0, reason: .asked)])
    }

    @Test func theOneUsedTheLongestAgoMakesRoom() {
        var shelf = Self.shelf()
        _ = Self.load(0, &shelf, at: 0)
        _ = Self.load(1, &shelf, at: 10)
        // a is used again: b is the older one now.
        _ = shelf.requested(1, of: 0, at: Self.at(20))
        _ = shelf.released(0, keepAlive: nil, at: Self.at(21))
        #expect(shelf.requested(2, of: 2, estimate: 40, at: Self.at(30)) == [.unload(1, reason: .evicted)])
        #expect(shelf.books[2]?.phase == .wanted)
        // Its memory is free only when it has ended.
        #expect(shelf.unloaded(1, at: Self.at(31)) == [.load(2)])
        #expect(shelf.held == 80)
    }

    @Test func aModelWithRunningAnswersIsNeverMovedAndTheRefusalNamesIt() {
        var shelf = Self.shelf()
        for place in 0..<2 {
            _ = shelf.requested(UInt64(place), of: place, estimate: 40, at: Self.at(place))
            _ = shelf.loaded(place, measured: 40, at: Self.at(place))
        }
        let refusal = Self.refusal(shelf.requested(9, of: 2, estimate: 40, at: Self.at(5)))
        #expect(refusal?.retryAfter == .seconds(5))
        #expect(refusal?.message.contains("a 0.0 MiB (answering), b 0.0 MiB (answering)") == true)
        #expect(shelf.books[2]?.phase == .unloaded)
        // One has ended: now there is room to be made.
        _ = shelf.released(0, keepAlive: nil, at: Self.at(6))
        #expect(shelf.requested(10, of: 2, estimate: 40, at: Self.at(7)) == [.unload(0, reason: .evicted)])
    }

    @Test func whatIsSetUpToStayStays() {
        var shelf = Self.shelf(.forever)
        _ = Self.load(0, &shelf, at: 0)
        _ = Self.load(1, &shelf, at: 1)
        #expect(
            Self.refusal(shelf.requested(1, of: 2, estimate: 40, at: Self.at(2)))?.message.contains("kept for ever")
                == true)
        // No client's wish moves it either.
        _ = shelf.requested(2, of: 0, at: Self.at(3))
        #expect(shelf.released(0, keepAlive: .unloaded, at: Self.at(4)) == [])
        #expect(shelf.dismissed(0, at: Self.at(5)) == [])
    }

    @Test func oneLargerThanTheBudgetIsRefusedForGood() {
        var shelf = Self.shelf()
        let refusal = Self.refusal(shelf.requested(1, of: 0, estimate: 101, at: Self.at(0)))
        #expect(refusal?.message.contains("models_memory") == true)
        #expect(refusal?.retryAfter == nil)
    }

    @Test func whatAModelReallyTakesCounts() {
        var shelf = Self.shelf()
        _ = Self.load(0, &shelf, at: 0)
        shelf.measured(0, bytes: 70)
        #expect(shelf.requested(1, of: 1, estimate: 40, at: Self.at(1)) == [.unload(0, reason: .evicted)])
    }

    @Test func aFailedLoadTellsEveryoneAndIsTriedAgainLater() {
        var shelf = Self.shelf()
        _ = shelf.requested(1, of: 0, estimate: 40, at: Self.at(0))
        _ = shelf.requested(2, of: 0, estimate: 40, at: Self.at(0))
        let failed = shelf.loadFailed(0, reason: "no such program", retryAfter: .seconds(30), at: Self.at(1))
        let told = ModelShelf.Refusal(message: "no such program", retryAfter: .seconds(30))
        #expect(failed.prefix(2) == [.refuse(1, told), .refuse(2, told)])
        #expect(
            Self.refusal(shelf.requested(3, of: 0, estimate: 40, at: Self.at(11)))
                == ModelShelf.Refusal(message: "no such program", retryAfter: .seconds(20)))
        #expect(shelf.requested(4, of: 0, estimate: 40, at: Self.at(31)) == [.load(0)])
    }

    @Test func whatIsWantedFromTheStartIsLoadedAgainByItself() {
        var shelf = Self.shelf(loadsAtStart: true)
        _ = shelf.requested(1, of: 0, estimate: 40, at: Self.at(0))
        let failed = shelf.loadFailed(0, reason: "out of luck", retryAfter: .seconds(30), at: Self.at(1))
        guard case .schedule(0, let token, _) = failed.last else {
            Issue.record("no timer: \(failed)")
            return
        }
        #expect(shelf.expired(0, token: token, at: Self.at(31)) == [.load(0)])
    }

    @Test func oneThatLeavesWhileItIsWantedAgainComesBack() {
        var shelf = Self.shelf()
        _ = Self.load(0, &shelf, at: 0)
        #expect(shelf.dismissed(0, at: Self.at(1)) == [.unload(0, reason: .asked)])
        #expect(shelf.requested(1, of: 0, estimate: 40, at: Self.at(2)) == [])
        #expect(shelf.unloaded(0, at: Self.at(3)) == [.load(0)])
        #expect(shelf.loaded(0, measured: nil, at: Self.at(4)) == [.admit(1, 0)])
        // The wish has gone with it.
        guard case .schedule = shelf.released(0, keepAlive: nil, at: Self.at(5)).last else {
            Issue.record("it does not stay as it is set up to")
            return
        }
    }

    @Test func aRequestThatGivesUpIsForgottenAndTheLoadGoesOn() {
        var shelf = Self.shelf()
        _ = shelf.requested(1, of: 0, estimate: 40, at: Self.at(0))
        shelf.abandoned(1, of: 0)
        let actions = shelf.loaded(0, measured: 40, at: Self.at(1))
        guard case .schedule(0, _, _) = actions.first, actions.count == 1 else {
            Issue.record("it is not idle: \(actions)")
            return
        }
    }

    @Test func aRemovedModelEndsAfterItsAnswers() {
        var shelf = Self.shelf()
        _ = shelf.requested(1, of: 0, estimate: 40, at: Self.at(0))
        _ = shelf.loaded(0, measured: 40, at: Self.at(1))
        #expect(shelf.removed(0, at: Self.at(2)) == [])
        #expect(Self.refusal(shelf.requested(2, of: 0, at: Self.at(3))) != nil)
        #expect(shelf.released(0, keepAlive: nil, at: Self.at(4)) == [.unload(0, reason: .removed)])
        #expect(shelf.unloaded(0, at: Self.at(5)) == [.forget(0)])
        #expect(shelf.books[0] == nil)
        #expect(shelf.removed(1, at: Self.at(6)) == [.forget(1)])
    }

    @Test func theEndTurnsAwayWhoWaits() {
        var shelf = Self.shelf()
        _ = shelf.requested(1, of: 0, estimate: 40, at: Self.at(0))
        #expect(Self.refusal(shelf.stopped()) != nil)
        #expect(Self.refusal(shelf.requested(2, of: 1, estimate: 40, at: Self.at(1))) != nil)
    }

    /// Whatever happens in whatever order: never more memory than there is, no user of what is not loaded, and nobody
    /// is left waiting once everything has come to its end.
    @Test(arguments: UInt64(1)...40)
    func anyOrderOfEventsKeepsTheRules(seed: UInt64) {
        var random = Random(state: seed)
        var shelf = Self.shelf(.loaded(.seconds(3)))
        var open: [UInt64: Int] = [:]
        var users: [Int] = []
        var loading: Set<Int> = []
        var unloading: Set<Int> = []
        var timers: [(place: Int, token: UInt64)] = []
        var request: UInt64 = 0
        func take(_ actions: [Action]) {
            for action in actions {
                switch action {
                case .load(let place): loading.insert(place)
                case .unload(let place, _):
                    #expect(!users.contains(place), "seed \(seed)")
                    unloading.insert(place)
                case .admit(let id, let place):
                    open[id] = nil
                    users.append(place)
                case .refuse(let id, _): open[id] = nil
                case .schedule(let place, let token, _): timers.append((place, token))
                case .forget: break
                }
            }
        }
        func finish(_ now: ModelShelf.Instant) {
            if let place = loading.sorted().first(where: { _ in random.next() % 2 == 0 }) ?? loading.min() {
                loading.remove(place)
                take(
                    random.next() % 4 == 0
                        ? shelf.loadFailed(place, reason: "luck", retryAfter: .seconds(1), at: now)
                        : shelf.loaded(place, measured: Int(random.next() % 50), at: now))
            } else if let place = unloading.min() {
                unloading.remove(place)
                take(shelf.unloaded(place, at: now))
            }
        }
        for step in 0..<400 {
            let now = Self.at(step)
            switch random.next() % 6 {
            case 0, 1:
                request += 1
                let place = Int(random.next() % 3)
                open[request] = place
                take(shelf.requested(request, of: place, estimate: 40, at: now))
            case 2:
                if !users.isEmpty {
                    let place = users.remove(at: Int(random.next() % UInt64(users.count)))
                    take(shelf.released(place, keepAlive: random.next() % 3 == 0 ? .unloaded : nil, at: now))
                }
            case 3:
                if let (id, place) = open.min(by: { $0.key < $1.key }) {
                    open[id] = nil
                    shelf.abandoned(id, of: place)
                }
            case 4: finish(now)
            default:
                if !timers.isEmpty {
                    let timer = timers.remove(at: Int(random.next() % UInt64(timers.count)))
                    take(shelf.expired(timer.place, token: timer.token, at: now))
                }
            }
            let charged = shelf.books.values.filter { [.loading, .loaded, .unloading].contains($0.phase) }
            // Growth after a load cannot be helped; what was granted never exceeds the budget.
            #expect(charged.reduce(0) { $0 + $1.estimate } <= 100, "seed \(seed) step \(step)")
        }
        for step in 0..<200 {
            if let place = users.popLast() { take(shelf.released(place, keepAlive: nil, at: Self.at(1_000 + step))) }
            finish(Self.at(1_000 + step))
        }
        #expect(open.isEmpty, "seed \(seed): \(open)")
    }
}

private struct Random {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
