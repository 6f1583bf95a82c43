import Core
import Swarm

/// One host of a ``ServingWorld``: its machines, and what its shells keep beside them.
struct ServingHost {
    /// An answer that this host gives a client, or has taken up.
    struct Answer {
        var ask: Int
        var journey: AnswerJourney
        var request: GenerationRequest
        var since: Duration
        var place: Place
        /// Its router counts on being told how it went.
        var isCounted = false
        /// What those who stand by have not been told.
        var untold = ""
        /// Who stands by: over which link, and as what there.
        var told: [NodeID: (link: Int, id: UInt64)] = [:]
    }

    /// Where an answer is written.
    enum Place {
        case nowhere
        case here(job: UInt64)
        case there(link: Int, id: UInt64)
    }

    /// Something that this host's engine writes, or that waits for it.
    struct Job {
        enum Reader {
            case answer(Int)
            case link(Int, UInt64)
        }

        var ask: Int
        var reader: Reader
        var caller: UInt64
        var priority: Ticket.Priority
        /// The next token.
        var next: Int
        var isRunning = false
        /// Its reader is behind.
        var isPaused = false
        var entered: Duration
    }

    struct Held {
        var ask: Int
        var text: String
        var writer: NodeID
    }

    let node: NodeID
    let slots: Int
    /// Time for a token.
    let pace: Duration
    /// Its engine goes on behind a beginning.
    let takesPartial: Bool
    var life = 0
    var isUp = true
    var thaws: Duration?
    var deferred: [ServingWorld.Event] = []
    /// When somebody last did something to it.
    var disturbed = Duration.zero
    var isDraining = false
    var isBroken = false

    var router: Router
    var queue: ModelQueue
    var standby: StandbyTable
    var held: [Dot: Held] = [:]
    var jobs: [UInt64: Job] = [:]
    var lastJob: UInt64 = 0
    var answers: [Int: Answer] = [:]
    /// On which this host asks.
    var links: [NodeID: Int] = [:]
    /// What others have told of their loads.
    var loads: [NodeID: (load: HostLoad, telling: UInt64)] = [:]
    var lastTold: HostLoad?
    var tellings: UInt64 = 0
    /// Taken for dead.
    var gone: Set<NodeID> = []
    /// Whole answers that its store holds.
    var kept: [Int: String] = [:]
    /// Since when nothing has begun of what a caller has waiting in a class.
    var lanes: [Lane: Duration] = [:]

    struct Lane: Hashable {
        var caller: UInt64
        var priority: Ticket.Priority
    }

    init(node: NodeID, slots: Int, pace: Duration, takesPartial: Bool, length: Int, seed: UInt64) {
        self.node = node
        self.slots = slots
        self.pace = pace
        self.takesPartial = takesPartial
        router = Router(seed: seed)
        queue = ModelQueue(length: length)
        standby = StandbyTable(node: node)
    }

    var capabilities: Set<EngineCapability> { takesPartial ? [.partial] : [] }

    var load: HostLoad {
        let model = ModelLoad(
            name: ServingWorld.model, waiting: queue.waitingCount, running: queue.runningCount, slots: slots)
        return HostLoad(
            processor: min(1, Double(queue.runningCount) / Double(slots)), isDraining: isDraining, models: [model])
    }
}

/// A way on which one host asks another, with the machines of both of its sides.
struct ServingLink {
    let asker: Int
    let askerLife: Int
    let server: Int
    let serverLife: Int
    var ledger: WorkLedger
    var table = WorkTable()
    /// The asker's side, the server's.
    var isOpen = [true, true]
    /// When the last message to each of them arrives.
    var lastArrival = [Duration.zero, .zero]
    /// What a cut holds back on its way to each.
    var heldBack: [[[UInt8]]] = [[], []]
    /// The asker's answers, by their numbers here.
    var answers: [UInt64: Int] = [:]
    /// The asker's answers for which the server stands by.
    var tellings: [UInt64: Int] = [:]
    /// The server's jobs.
    var jobs: [UInt64: UInt64] = [:]
    /// What the server stands by for.
    var standing: [UInt64: Dot] = [:]
}
