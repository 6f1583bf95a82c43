import Core
import Cryptography
import Glibc
import Node
import Store
import Swarm

/// How fast turns reach the disk, and what they cost there: the shipped writer over the shipped store.
///
///     append-benchmark FOLDER [MESSAGES [CONVERSATIONS [WRITERS]]]
///
/// Prints one JSON line. FOLDER must be empty and is left with the store in it.
@main
enum AppendBenchmark {
    static let text = String(repeating: "x", count: 200)

    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count > 1 else {
            print("usage: append-benchmark FOLDER [MESSAGES [CONVERSATIONS [WRITERS]]]")
            exit(64)
        }
        func number(_ index: Int, _ usual: Int) -> Int {
            arguments.indices.contains(index) ? Int(arguments[index]) ?? usual : usual
        }
        let messages = number(2, 20_000)
        let conversations = number(3, 1_000)
        let writers = number(4, 32)

        let identity = NodeIdentity(key: try Ed25519.PrivateKey())
        let store = try await SQLiteContextStore.open(
            .file("\(arguments[1])/append.db"), key: .custom(try SymmetricKey(random: 32)), node: identity.node,
            hostname: "benchmark")
        let writer = LogWriter(store: store, seals: .ed25519(identity.key), wallClock: { UInt64(clamping: time(nil)) * 1_000 })
        await writer.recover()
        let start = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for first in 0..<writers {
                group.addTask {
                    for message in stride(from: first, to: messages, by: writers) {
                        try await append(message, to: message % conversations, isNew: message < conversations, writer)
                    }
                }
            }
            try await group.waitForAll()
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        await store.close()
        var file = stat()
        stat("\(arguments[1])/append.db", &file)
        let report: JSON = [
            "messages": .integer(Int64(messages)), "conversations": .integer(Int64(conversations)),
            "writers": .integer(Int64(writers)), "messages_per_second": .number((Double(messages) / seconds).rounded()),
            "bytes_per_message": .number((Double(file.st_size) / Double(messages)).rounded()),
        ]
        print(report.text)
    }

    private static func append(
        _ message: Int, to conversation: Int, isNew: Bool, _ writer: LogWriter
    ) async throws {
        let id = ConversationID("bench-", hexOf: withUnsafeBytes(of: conversation.bigEndian) { Array($0) })
        let stream = Conversations.stream(of: id, owner: .local)
        var drafts: [OperationLog.Draft] = []
        if isNew {
            drafts.append(
                OperationLog.Draft(
                    kind: .conversationMeta, stream: stream,
                    body: TurnCodec.encode(ConversationMeta(id: id, owner: .local))))
        }
        let history = PrefixHash(rawValue: UInt64(message) &* 0x9E37_79B9_7F4A_7C15)
        let turn = Turn(message: Message(.user, text), history: history)
        drafts.append(OperationLog.Draft(kind: .userTurn, stream: stream, body: TurnCodec.encode(turn)))
        _ = try await writer.append(LogWriter.Entry(drafts: drafts))
    }
}
