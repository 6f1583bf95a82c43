import Core
import HTTPTypes
import Testing

@testable import Gateway

@Suite("How a request waits, in what clients say") struct TurnTests {
    private static func read(_ body: String, priority: String? = nil, deadline: String? = nil) throws -> ChatRequest {
        var headers = HTTPFields()
        headers[.turnPriority] = priority
        headers[.turnDeadline] = deadline
        var request = ChatRequest(model: "m", messages: [])
        try request.readTurn(RequestFields(json: try JSON.parse(Array(body.utf8))), headers)
        return request
    }

    @Test(
        "The class is a word, vLLM's number or OpenAI's tier; the header speaks first",
        arguments: [
            ("{}", nil, .normal), (#"{"priority":"high"}"#, nil, .high), (#"{"priority":null}"#, nil, .normal),
            (#"{"priority":-3}"#, nil, .high), (#"{"priority":0}"#, nil, .normal), (#"{"priority":7}"#, nil, .low),
            (#"{"service_tier":"flex"}"#, nil, .low), (#"{"service_tier":"priority"}"#, nil, .high),
            (#"{"service_tier":"auto"}"#, nil, .normal),
            (#"{"priority":"low","service_tier":"priority"}"#, nil, .low),
            (#"{"priority":"low"}"#, "High", .high),
        ] as [(String, String?, Ticket.Priority)])
    func priority(_ body: String, _ header: String?, _ expected: Ticket.Priority) throws {
        #expect(try Self.read(body, priority: header).priority == expected)
    }

    @Test("The deadline is in seconds, with a fraction")
    func deadline() throws {
        #expect(try Self.read("{}").patience == nil)
        #expect(try Self.read("{}", deadline: "2.5").patience == .milliseconds(2_500))
        #expect(try Self.read("{}", deadline: "3600").patience == .seconds(3_600))
    }

    @Test("What is neither is refused by its name")
    func wrong() {
        for body in [#"{"priority":"urgent"}"#, #"{"priority":true}"#, #"{"priority":{}}"#] {
            #expect { try Self.read(body) } throws: { ($0 as? RuntimeError)?.parameter == "priority" }
        }
        #expect { try Self.read("{}", priority: "urgent") } throws: {
            ($0 as? RuntimeError)?.parameter == "X-Igris-Priority"
        }
        for text in ["", "soon", "0", "-1", "nan", "inf", "3601", "1e99"] {
            #expect { try Self.read("{}", deadline: text) } throws: {
                ($0 as? RuntimeError)?.parameter == "X-Igris-Deadline"
            }
        }
    }

    @Test("A request that left a queue is told its position, in Ollama's dialect with 503")
    func replies() {
        let full = APIError(
            RuntimeError(.overloaded, "full", retryAfter: .seconds(7), cause: QueueExit.full(position: 9)))
        for (path, status) in [("/v1/chat/completions", 429), ("/v1/messages", 429), ("/api/chat", 503)] {
            let reply = Dialect(path: path).reply(full, requestID: "r")
            #expect(reply.status.code == status)
            #expect(HTTPField.Name("x-igris-queue-position").map { reply.headers[$0] } == "9")
            #expect(reply.headers[.retryAfter] == "7")
        }
        let late = APIError(RuntimeError(.timedOut, "late", cause: QueueExit.expired(position: 2)))
        #expect(late.status == 504)
        #expect(late.headers.contains { $0.name == "x-should-retry" && $0.value == "false" })
    }
}
