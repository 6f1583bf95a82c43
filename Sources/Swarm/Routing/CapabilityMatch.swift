package import Core

/// How much of what is required a host has: matched ÷ required, 1 where nothing is.
package enum CapabilityMatch {
    /// A host below it is not asked.
    package static let enough = 0.7

    package static func of(_ model: HostedModel, for needs: Set<String>) -> Double {
        guard !needs.isEmpty else { return 1 }
        return Double(needs.intersection(model.capabilities).count) / Double(needs.count)
    }
}
