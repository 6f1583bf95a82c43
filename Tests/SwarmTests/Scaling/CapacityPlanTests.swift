import Swarm
import Testing

@Suite struct CapacityPlanTests {
    @Test("A quarter more than the peak, by what one host does at once")
    func desired() {
        var plan = CapacityPlan(window: .seconds(60))
        #expect(plan.report(at: .zero).desired == 1)
        plan.observed(busy: 7, slots: 6, hosts: 3, at: .seconds(1))
        plan.observed(busy: 2, slots: 6, hosts: 3, at: .seconds(2))
        let report = plan.report(at: .seconds(2))
        #expect((report.peak, report.now, report.slots) == (7, 2, 6))
        #expect((report.hosts, report.perHost, report.desired) == (3, 2, 5))
    }

    @Test("A peak counts for the window and no longer")
    func window() {
        var plan = CapacityPlan(window: .seconds(60))
        plan.observed(busy: 9, slots: 3, hosts: 3, at: .seconds(0.5))
        plan.observed(busy: 1, slots: 3, hosts: 3, at: .seconds(59))
        #expect(plan.report(at: .seconds(59)).peak == 9)
        plan.observed(busy: 1, slots: 3, hosts: 3, at: .seconds(61))
        #expect(plan.report(at: .seconds(61)).peak == 1)
        #expect(plan.report(at: .seconds(200)).peak == 0)
    }

    @Test("Absurd figures neither trap nor win")
    func absurd() {
        var plan = CapacityPlan(window: .zero)
        plan.observed(busy: -1, slots: -1, hosts: -1, at: .zero)
        #expect(plan.report(at: .zero).desired == 1)
        plan.observed(busy: .max, slots: 0, hosts: 1, at: .zero)
        #expect(plan.report(at: .zero).desired == 1_000_000)
    }

    @Test("A number is told once it has held, and once")
    func told() {
        var watch = DesireWatch()
        #expect(watch.observed(1, hosts: 1, at: .zero) == nil)
        #expect(watch.observed(1, hosts: 1, at: .seconds(9)) == nil, "what there is need not be told")
        #expect(watch.observed(3, hosts: 1, at: .seconds(10)) == nil)
        #expect(watch.observed(3, hosts: 1, at: .seconds(11)) == nil)
        #expect(watch.observed(2, hosts: 1, at: .seconds(12)) == nil)
        #expect(watch.observed(3, hosts: 1, at: .seconds(13)) == nil)
        #expect(watch.observed(3, hosts: 1, at: .seconds(15)) == 3)
        #expect(watch.observed(3, hosts: 1, at: .seconds(30)) == nil)
        #expect(watch.observed(1, hosts: 3, at: .seconds(31)) == nil)
        #expect(watch.observed(1, hosts: 3, at: .seconds(33)) == 1)
    }
}
