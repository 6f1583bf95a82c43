/// Every bound of the daemon, named once (hardening.md §3).
package enum Limits {
    // Requests
    package static let headerBytes = 32 * 1024
    package static let headerFieldBytes = 8 * 1024
    package static let headerFields = 100
    package static let chunkExtensionBytes = 256
    package static let headerDeadline = Duration.seconds(10)
    package static let bodyIdle = Duration.seconds(30)
    package static let keepAliveIdle = Duration.seconds(75)
    package static let inferenceBodyBytes = 32 * 1024 * 1024
    package static let bodyBytes = 4 * 1024 * 1024
    /// Larger ones are refused while memory is short.
    package static let smallBodyBytes = 256 * 1024
    package static let jsonDepth = 64
    package static let jsonItems = 10_000
    /// Fewer where the system grants fewer descriptors: ``reservedDescriptors`` of them are not for clients.
    package static let connections = 16_384
    package static let reservedDescriptors = 256
    package static let connectionsPerAddress = 256
    /// Beyond the bounds, and open until they have been told so; further ones wait to be accepted.
    package static let surplusConnections = 64
    package static let conversationIDBytes = 200
    package static let idempotencyKeyBytes = 255
    package static let stopStrings = 16
    package static let stopStringBytes = 1_024
    package static let choices = 16
    /// How many of a caller's conversations are looked through for stored answers.
    package static let conversationsSearched = 1_000
    package static let backgroundAnswers = 256
    /// How often a host looks whether another one was asked to stop an answer that it writes in the background.
    package static let backgroundWatch = Duration.milliseconds(500)
    /// How long a client waits for another host to stop one.
    package static let cancellation = Duration.seconds(10)
    /// Of answers that were written in the background, for those who read them again as a stream.
    package static let replayBytes = 16 * 1024 * 1024
    /// Earlier items that one request may point at.
    package static let itemReferences = 256
    package static let embeddingInputs = 2_048

    // Tokens of clients
    /// Kept in memory, and of those that were revoked at most ``revokedTokens``: beyond, no new one is believed.
    package static let tokens = 10_000
    package static let revokedTokens = 65_536
    package static let tokenNameBytes = 64
    package static let tokenModels = 64
    package static let modelNameBytes = 512
    /// How often a host looks for tokens that others made, revoked or let expire.
    package static let tokenWatch = Duration.milliseconds(100)
    // Sessions of clients that sign a nonce
    package static let challenges = 4_096
    package static let challengesPerOrigin = 64
    package static let challengeLifetime = Duration.seconds(60)
    package static let sessions = 10_000
    package static let sessionsPerHolder = 64
    package static let sessionLifetime = Duration.seconds(900)
    /// Callers whose requests are counted, by token and by address each.
    package static let rateBuckets = 16_384
    /// Kinds of refusals that are told apart in one minute of the audit log, and events that wait to be written there.
    package static let auditKinds = 1_024
    package static let auditQueue = 4_096
    package static let auditPage = 1_000

    // Streams
    package static let streamBufferBytes = 256 * 1024
    package static let streamStall = Duration.seconds(30)
    package static let heartbeat = Duration.seconds(15)
    package static let clientSocketFrameBytes = 64 * 1024
    package static let drain = Duration.seconds(30)
    /// While the daemon stops: answers that all stand still for so long are not waited for.
    package static let drainQuiet = Duration.seconds(5)

    // Operations
    package static let operationBodyBytes = 64 * 1024 * 1024
    package static let operationDependencies = 1_024
    package static let parkedOperationsPerOrigin = 256
    package static let parkedBytesPerOrigin = 1024 * 1024
    package static let parkedBytes = 8 * 1024 * 1024

    // Swarm
    package static let meshHosts = 64
    package static let knownHosts = 4_096
    package static let queuedSightings = 1_024
    package static let discoveryFarewell = Duration.seconds(1)
    package static let memberAddresses = 8
    package static let memberModels = 64
    package static let memberNeighbours = 1_100
    package static let claimsPerMessage = 64
    package static let overlayIdentifiers = 1_024
    package static let linkMessageBytes = 8 * 1024 * 1024
    package static let linkQueueBytes = 4 * 1024 * 1024
    /// Messages that a link has taken in and nobody has read; beyond, the socket is read no further.
    package static let linkInboxBytes = 1024 * 1024
    package static let linkConnect = Duration.seconds(3)
    /// From the open connection to the open link.
    package static let linkHandshake = Duration.seconds(5)
    /// Data that the other side's system has not taken for this long means that it is gone, or reads nothing.
    package static let linkStall = Duration.seconds(20)
    /// A link that is closed still writes what waits, for this long.
    package static let linkGoodbye = Duration.seconds(1)
    package static let linksToAccept = 256
    package static let peerRequest = Duration.seconds(15)
    package static let peerResponseBytes = 8 * 1024 * 1024
    /// Others' operations that wait for this host's disk; beyond, its links are read no further.
    package static let backlogBytes = 16 * 1024 * 1024
    /// Origins of which this host asks for operations; of more, once these are here.
    package static let wantedOrigins = 65_536
    package static let batchOperations = 256
    package static let batchBytes = 1024 * 1024
    package static let snapshotPartBytes = 256 * 1024
    package static let snapshotParts = 131_072
    /// Bytes a second of snapshots, to one peer and in all: about half of what a wire of 1 Gbit/s carries, so that what
    /// is fresh need not wait.
    package static let snapshotPeerRate = 32 * 1024 * 1024
    package static let snapshotRate = 64 * 1024 * 1024

    // Work for other hosts
    /// Requests that one host may have open on another.
    package static let workPerLink = 1_024
    /// What of an answer may be on its way, unread: its reader asks for more.
    package static let workWindowBytes = 256 * 1024
    /// More than that waits on a link: answers wait until it has drained.
    package static let workQueueBytes = 1024 * 1024
    package static let workIdle = Duration.seconds(60)
    /// While work is open, a host is asked for a sign of life this often, and given up after so long without one.
    package static let workPing = Duration.milliseconds(250)
    package static let workSilence = Duration.milliseconds(1_250)
    package static let workEmbeddings = 64
    /// How often one answer is taken up again.
    package static let failovers = 8
    /// Hosts that stand by for one answer.
    package static let standbys = 2
    /// Answers that a host stands by for, and what of them it holds.
    package static let standbyAnswers = 4_096
    package static let standbyBytes = 256 * 1024 * 1024
    /// How long the one who stands by first has, before the next takes its place.
    package static let standbyTurn = Duration.seconds(2)
    /// How long one who stands by waits for a writer that lives to come back.
    package static let standbyPatience = Duration.seconds(3)
    /// What an answer has become is told to those who stand by this often, or when it has grown by so many events.
    package static let standbyInterval = Duration.milliseconds(50)
    package static let standbyEvents = 16
    /// How long a client that comes back for an answer waits for somebody to take it up.
    package static let reattachPatience = Duration.seconds(15)

    // Tunnels between programs of two hosts
    package static let tunnels = 128
    package static let tunnelMessageBytes = 4 * 1024
    /// Waits to be written to the link; beyond, the program at this end is read no further.
    package static let tunnelQueueBytes = 1024 * 1024
    /// From a question over a tunnel to its answer.
    package static let tunnelAnswer = Duration.seconds(5)
    /// A worker must run and listen within this.
    package static let workerStart = Duration.seconds(20)
    package static let tunnelBeat = Duration.seconds(1)
    /// A host that lends or borrows a worker and says nothing for so long is gone.
    package static let tunnelSilence = Duration.seconds(4)
    package static let systemTableBytes = 16 * 1024 * 1024
    /// Between two attempts to borrow the workers of a model.
    package static let workerRetry = Duration.seconds(2)

    // Engines
    package static let queuedRequestsPerModel = 512
    /// How often a request goes from one host's queue to another's.
    package static let queueMoves = 3
    /// How many hosts are asked whether they have room before a request is refused, beside the first.
    package static let queueOffers = 3
    /// The longest that a request may wait, and that a client is told to.
    package static let queuePatience = Duration.seconds(3_600)
    package static let queueRetry = Duration.seconds(120)
    /// How often hosts look whether what waits had better go elsewhere.
    package static let queueBalance = Duration.milliseconds(100)
    package static let engineLineBytes = 64 * 1024 * 1024
    package static let engineOutputBytes = 16 * 1024 * 1024
    package static let engineStderrTailBytes = 16 * 1024
    package static let engineRestartDelay = (first: Duration.milliseconds(200), last: Duration.seconds(10))
    package static let engineCrashesPerMinute = 3
    package static let engineQuarantine = (first: Duration.seconds(30), last: Duration.seconds(600))
    package static let engineReadiness = Duration.seconds(120)
    package static let engineConnect = Duration.seconds(5)
    package static let engineEventBytes = 8 * 1024 * 1024
    /// An answer that comes whole, as JSON.
    package static let engineReplyBytes = 64 * 1024 * 1024
    package static let engineToolCalls = 128
    package static let engineEmbeddingBytes = 256 * 1024 * 1024
    package static let engineStall = Duration.seconds(300)
    /// How often a child that owes an answer is looked at, and how often in a row it may have done nothing at all.
    package static let enginePulse = (beat: Duration.seconds(1), missed: 8)
    package static let engineAnswer = Duration.seconds(3600)
    package static let engineGrace = Duration.seconds(2)

    // Models
    /// How long a request without a stream waits for its model to be loaded.
    package static let modelPatience = Duration.seconds(120)
    /// How often a waiting stream is told that its model is being loaded.
    package static let loadingNotice = Duration.seconds(1)
    /// After a load that failed, and where nothing else is known.
    package static let modelRetry = Duration.seconds(30)
    package static let registeredModels = 256
    package static let modelTransfers = 2
    package static let modelPieceBytes = 2 * 1024 * 1024
    /// Disk that a copied model must leave free.
    package static let modelDiskReserve = 256 * 1024 * 1024

    // Settings
    package static let settingsFileBytes = 1024 * 1024
    package static let settingsDepth = 64
}
