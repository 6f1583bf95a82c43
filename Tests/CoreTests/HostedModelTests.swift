import Core
import Testing

struct HostedModelTests {
    private static let full = HostedModel(
        name: "phi", aliases: ["phi3", "phi3:mini"], engine: "stdio", state: "ready", contextLength: 4_096,
        capabilities: ["json_schema", "tools"],
        file: ModelFile(
            digest: String(repeating: "0f", count: 32), bytes: 2_390_000_000, architecture: "phi3",
            parameters: 3_800_000_000, quantization: "Q4_K_M", trainedContext: 131_072))

    private func copy(_ model: HostedModel) throws -> HostedModel {
        var writer = ByteWriter()
        writer.put(model)
        var reader = ByteReader(writer.bytes)
        let copy = try reader.hostedModel()
        try reader.expectEnd()
        return copy
    }

    @Test(
        arguments: [
            full, HostedModel(name: "echo", engine: "stdio", state: "starting"),
            HostedModel(name: "m", engine: "builtin", state: "ready", contextLength: 0, file: ModelFile(bytes: 0)),
        ])
    func `what is written is read`(model: HostedModel) throws {
        #expect(try copy(model) == model)
    }

    @Test func `a long text is cut at a character`() throws {
        let name = try copy(HostedModel(name: String(repeating: "ä", count: 200), engine: "e", state: "s")).name
        #expect(name == String(repeating: "ä", count: 127))
    }

    @Test func `whatever bytes come, none of them trap`() {
        var writer = ByteWriter()
        writer.put(Self.full)
        for length in 0..<writer.bytes.count {
            var reader = ByteReader(Array(writer.bytes.prefix(length)))
            #expect(throws: RuntimeError.self) { try reader.hostedModel() }
        }
        var random = Seeded(1)
        for _ in 0..<2_000 {
            var bytes = writer.bytes
            bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            var reader = ByteReader(bytes)
            _ = try? reader.hostedModel()
        }
    }

    @Test func `a host tells only so much`() {
        var long = Self.full
        long.aliases = (0..<100).map { "\($0)\(String(repeating: "x", count: 250))" }
        let told = Array(repeating: long, count: 100).told
        var writer = ByteWriter()
        for model in told { writer.put(model) }
        #expect(!told.isEmpty && told.count < 100)
        #expect(writer.bytes.count <= 32 * 1024)
        #expect(told.allSatisfy { $0.aliases.count == 8 })
    }
}
