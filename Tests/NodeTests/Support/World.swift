import Core
import Cryptography
import Logging
import Node
import Store
import Swarm
import Testing

/// A host with a scripted engine over some store.
struct World {
    /// Which store a test runs over: each behaviour holds over all of them.
    enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case double
        case sqlite

        var testDescription: String { rawValue }

        func make() async throws -> any ContextStore {
            switch self {
            case .double: MemoryStore()
            case .sqlite:
                try await SQLiteContextStore.open(
                    .memory, key: .custom(SymmetricKey([UInt8](repeating: 7, count: 32))), node: World.node,
                    hostname: "test")
            }
        }
    }

    static let node = NodeID(Bytes16(high: 1, low: 1))
    static let wall: @Sendable () -> UInt64 = { 1_700_000_000_000 }
    static let prefixKey = SymmetricKey([UInt8](repeating: 3, count: 32))

    static let silent = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    /// Seals without curves, for a host of that name.
    static func seals(_ node: NodeID) -> SealScheme {
        let author = node.bytes.bytes + [UInt8](repeating: 1, count: 16)
        @Sendable func word(_ author: [UInt8], _ message: [UInt8]) -> [UInt8] {
            let hash = SHA256.hash(author + message)
            return hash + hash
        }
        return SealScheme(
            author: author, sign: { message throws(RuntimeError) in word(author, message) },
            verify: { $0 == word($2, $1) }, node: { Bytes16($0).map(NodeID.init) })
    }

    let engine: ScriptedEngine
    let store: any ContextStore
    let writer: LogWriter
    let conversations: Conversations
    let node: LocalNode

    init(
        _ store: any ContextStore = MemoryStore(), engine: ScriptedEngine = ScriptedEngine(),
        policy: Conversations.Policy = .always, node id: NodeID = World.node, durability: LogWriter.Durability = .first,
        models entries: [Models.Entry]? = nil
    ) async {
        self.engine = engine
        self.store = store
        writer = LogWriter(
            store: store, seals: Self.seals(id), durability: durability, log: Self.silent, wallClock: Self.wall)
        await writer.recover()
        conversations = Conversations(
            store: store, writer: writer, prefixKey: Self.prefixKey, policy: policy)
        let models = Models(
            entries ?? [Models.Entry(name: "m", aliases: ["alias"], kind: "scripted", engine: engine)])
        node = LocalNode(
            id: id, version: "test", models: models, conversations: conversations, writer: writer,
            store: store, log: Self.silent, wallClock: Self.wall)
    }

    /// The same host, started again.
    func restarted(policy: Conversations.Policy = .always) async -> World {
        await World(store, engine: engine, policy: policy, node: node.id)
    }

    // MARK: - Requests

    /// Messages whose roles alternate and end with the client's.
    static func dialogue(_ texts: [String], system: String? = nil) -> [Message] {
        let first = texts.count.isMultiple(of: 2) ? Message.Role.assistant : .user
        return (system.map { [Message(.system, $0)] } ?? [])
            + texts.enumerated().map {
                Message($0.offset.isMultiple(of: 2) == (first == .user) ? .user : .assistant, $0.element)
            }
    }

    static func request(
        _ texts: String..., to conversation: String? = nil, off: Bool = false, system: String? = nil,
        user: String? = nil, key: String? = nil, isRetry: Bool = false, choices: Int = 1
    ) -> ChatRequest {
        let continuation: ChatRequest.Continuation =
            off ? .off : conversation.flatMap(ConversationID.init).map { .conversation($0) } ?? .automatic
        return ChatRequest(
            model: "m", messages: dialogue(texts, system: system), continuation: continuation, user: user,
            choices: choices, idempotencyKey: key, isRetry: isRetry)
    }

    /// Asks and reads the answer to its end.
    @discardableResult
    func ask(_ request: ChatRequest, as caller: Owner = .local) async throws -> Reply {
        let answer = try await node.answer(request, caller: caller)
        var reply = Reply(conversation: answer.conversation, context: answer.context)
        for try await event in answer.events { reply.events.append(event) }
        return reply
    }

    struct Reply {
        var conversation: ConversationID?
        var context: ContextReport
        var events: [ChatEvent] = []

        var text: String {
            events.map { event in
                if case .text(0, let piece) = event { piece } else { "" }
            }.joined()
        }
    }

    /// What is kept of a conversation: `role:text`, with the reason where an answer did not come to its own end.
    func kept(_ conversation: String = "default", of owner: Owner = .local) async throws -> [String] {
        let id = try #require(ConversationID(conversation))
        return try await node.conversation(id, of: owner).turns.map { turn in
            let reason = turn.turn.outcome.map { $0.finishReason == .stop ? "" : "(\($0.finishReason.rawValue))" } ?? ""
            return "\(turn.turn.message.role.rawValue):\(turn.turn.message.text)\(reason)"
        }
    }
}
