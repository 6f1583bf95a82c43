package import Core

/// What the router is asked: where should this go?
package struct RouteQuestion: Hashable, Sendable {
    /// As the request names it.
    package var model: String
    package var prefix: PromptPrefix
    package var maximumTokens: Int
    /// The words of ``EngineCapability`` that the request cannot do without.
    package var needs: Set<String>
    /// A host that has enough of `needs` (``CapabilityMatch``) will do; else it must have all of them, but by `capability`.
    package var mayLackSome = false
    /// The same for every turn of a conversation.
    package var affinity: Bytes16?
    /// Only hosts whose file of the model is this one: an answer goes on with the weights that began it.
    package var digest: String?
    /// Those that have failed this answer.
    package var without: Set<NodeID>

    package init(
        model: String, prefix: PromptPrefix = PromptPrefix(), maximumTokens: Int = 256, needs: Set<String> = [],
        affinity: Bytes16? = nil, digest: String? = nil, without: Set<NodeID> = []
    ) {
        self.model = model
        self.prefix = prefix
        self.maximumTokens = maximumTokens
        self.needs = needs
        self.affinity = affinity
        self.digest = digest
        self.without = without
    }
}

/// One host that has the model.
package struct RouteCandidate: Hashable, Sendable {
    package var node: NodeID
    package var name: String
    package var isSelf: Bool
    package var model: HostedModel
    /// Nil until it has told.
    package var load: HostLoad?
    /// There and back.
    package var roundTrip: Duration
    /// From 0 to 100.
    package var reputation: Int
    package var isExcluded: Bool
    package var zone: String

    package init(
        node: NodeID, name: String = "", isSelf: Bool = false, model: HostedModel, load: HostLoad? = nil,
        roundTrip: Duration = .zero, reputation: Int = 100, isExcluded: Bool = false, zone: String = ""
    ) {
        self.node = node
        self.name = name
        self.isSelf = isSelf
        self.model = model
        self.load = load
        self.roundTrip = roundTrip
        self.reputation = reputation
        self.isExcluded = isExcluded
        self.zone = zone
    }

    /// What it does for the model.
    var work: ModelLoad? { load?[model.name] }
}

/// Where a request goes, and why: `/v1/route/explain`.
package struct RouteDecision: Hashable, Sendable {
    /// One host as the decision saw it.
    package struct Judgement: Hashable, Sendable {
        package var node: NodeID
        package var name: String
        /// Less is better for `auto` and `least-connections`, more for the others; nil where it is out of the question.
        package var score: Double?
        /// What the score is made of, each by its name.
        package var parts: [Part]
        /// Why it is out of the question.
        package var whyNot: String?
    }

    package struct Part: Hashable, Sendable {
        package var name: String
        package var value: Double

        package init(_ name: String, _ value: Double) {
            self.name = name
            self.value = value
        }
    }

    /// Nil where nobody is left.
    package var node: NodeID?
    package var algorithm: RoutingAlgorithm
    /// A few words: `X-Igris-Route-Reason`.
    package var reason: String
    /// All candidates, in the order of their ids.
    package var judgements: [Judgement]

    /// Hosts that could have been chosen.
    package var eligible: [NodeID] { judgements.filter { $0.whyNot == nil }.map(\.node) }
}
