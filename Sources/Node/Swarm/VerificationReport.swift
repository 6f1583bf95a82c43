package import Core

/// What `igris-runtime verify` shows: damage here, and how this host's conversations compare with its peers'.
package struct VerificationReport: Sendable {
    /// A conversation of which two hosts do not hold the same.
    package struct Difference: Hashable, Sendable {
        package var stream: StreamID
        /// Nil where neither side's row says.
        package var conversation: ConversationID?
        package var here: StreamDigest
        package var there: StreamDigest

        package init(
            stream: StreamID, conversation: ConversationID?, here: StreamDigest, there: StreamDigest
        ) {
            self.stream = stream
            self.conversation = conversation
            self.here = here
            self.there = there
        }
    }

    package struct Peer: Hashable, Sendable {
        package var node: NodeID
        package var name: String
        package var differences: [Difference]
        /// Why it could not be asked, if so.
        package var failure: String?

        package init(node: NodeID, name: String, differences: [Difference], failure: String? = nil) {
            self.node = node
            self.name = name
            self.differences = differences
            self.failure = failure
        }
    }

    package var operations: Int
    package var conversations: Int
    package var findings: [StoreVerification.Finding]
    /// Nil where nobody was to be asked.
    package var peers: [Peer]?

    package init(
        operations: Int, conversations: Int, findings: [StoreVerification.Finding], peers: [Peer]?
    ) {
        self.operations = operations
        self.conversations = conversations
        self.findings = findings
        self.peers = peers
    }
}
