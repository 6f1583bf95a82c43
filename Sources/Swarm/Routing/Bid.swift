/// What a host offers in an auction. The score can be computed again from its parts: 0.4 × capability, 0.3 × load,
/// 0.2 × performance, 0.1 × resources, each from 0 to 1.
package struct Bid: Hashable, Sendable {
    package var capability: Double
    /// 1: nothing to do.
    package var load: Double
    /// Of what it was given lately, how much went well, and how fast it was beside the fastest.
    package var performance: Double
    /// The part of its memory and processors that is free.
    package var resources: Double

    package init(capability: Double, load: Double, performance: Double, resources: Double) {
        self.capability = capability
        self.load = load
        self.performance = performance
        self.resources = resources
    }

    package var score: Double { 0.4 * capability + 0.3 * load + 0.2 * performance + 0.1 * resources }

    package var parts: [RouteDecision.Part] {
        [
            .init("capability", capability), .init("load", load), .init("performance", performance),
            .init("resources", resources),
        ]
    }
}
