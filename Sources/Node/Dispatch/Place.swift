package import Core

/// A host where a model can be asked, and the way to its engine.
package struct Place: Sendable {
    package var node: NodeID
    /// What that host tells of the model; its name there is its own.
    package var model: HostedModel
    package var engine: any InferenceEngine
    /// Why this one, in a few words.
    package var reason: String
}

/// A host's word that it has a model.
package struct Offer: Hashable, Sendable {
    package var node: NodeID
    package var isSelf: Bool
    package var model: HostedModel
    package var roundTrip: Duration?

    package init(node: NodeID, isSelf: Bool, model: HostedModel, roundTrip: Duration? = nil) {
        self.node = node
        self.isSelf = isSelf
        self.model = model
        self.roundTrip = roundTrip
    }

    /// Who is to be asked, the best first: this host where its model is ready, else the nearest one that is ready, else
    /// whoever may become so. `like` is the model that an answer was begun with: one whose file is known to be another
    /// does not go on with it.
    package static func ordered(_ offers: [Offer], like model: HostedModel? = nil) -> [Offer] {
        let known = model?.file?.digest
        return offers.filter { offer in
            guard let known, let digest = offer.model.file?.digest else { return true }
            return known == digest
        }.sorted { left, right in left.rank < right.rank }
    }

    private var rank: Rank {
        Rank(unready: model.isReady ? 0 : 1, distance: isSelf ? .zero : roundTrip ?? .seconds(1), node: node)
    }

    private struct Rank: Comparable {
        var unready: Int
        var distance: Duration
        var node: NodeID

        static func < (left: Rank, right: Rank) -> Bool {
            (left.unready, left.distance, left.node) < (right.unready, right.distance, right.node)
        }
    }
}
