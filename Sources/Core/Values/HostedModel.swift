/// A model as its host tells the swarm of it: enough to know what could be asked there, and whether two hosts have the
/// same.
package struct HostedModel: Hashable, Sendable {
    package var name: String
    package var aliases: [String]
    /// The engine kind: `builtin`, `stdio`, …
    package var engine: String
    /// The word of ``EngineState``.
    package var state: String
    /// Tokens of prompt and answer together; nil until the engine has started once.
    package var contextLength: Int?
    /// The words of ``EngineCapability``, ordered.
    package var capabilities: [String]
    package var file: ModelFile?

    package init(
        name: String, aliases: [String] = [], engine: String, state: String, contextLength: Int? = nil,
        capabilities: [String] = [], file: ModelFile? = nil
    ) {
        self.name = name
        self.aliases = aliases
        self.engine = engine
        self.state = state
        self.contextLength = contextLength
        self.capabilities = capabilities
        self.file = file
    }

    package var isReady: Bool { state == EngineState.ready.word }

    /// Now, or as soon as it is loaded.
    package var canAnswer: Bool {
        isReady || state == EngineState.unloaded.word || state == EngineState.loading.word
    }

    package func isCalled(_ name: String) -> Bool { self.name == name || aliases.contains(name) }
}

extension [HostedModel] {
    private static let namesToldOfEach = 8
    /// A host's word about itself stays small: what does not fit is not told.
    private static let bytesTold = 32 * 1024

    /// At most ``Limits/memberModels`` models and so many bytes.
    package var told: [HostedModel] {
        var room = Self.bytesTold
        var list: [HostedModel] = []
        for model in prefix(Limits.memberModels) {
            var model = model
            model.aliases = [String](model.aliases.prefix(Self.namesToldOfEach))
            var writer = ByteWriter()
            writer.put(model)
            room -= writer.bytes.count
            guard room >= 0 else { break }
            list.append(model)
        }
        return list
    }
}

extension ByteWriter {
    package mutating func put(_ model: HostedModel) {
        put(short: model.name)
        put(list: model.aliases)
        put(short: model.engine)
        put(short: model.state)
        put(number: model.contextLength)
        put(list: model.capabilities)
        guard let file = model.file else { return put(0) }
        put(1)
        put(number: file.bytes)
        put(short: file.digest ?? "")
        put(short: file.architecture ?? "")
        put(number: file.parameters)
        put(short: file.quantization ?? "")
        put(number: file.trainedContext)
    }

    /// What is longer than its bound is cut at a character.
    private mutating func put(short text: String) {
        var bytes = Array(text.utf8.prefix(HostedModel.textBytes))
        while String(validating: bytes, as: UTF8.self) == nil { bytes.removeLast() }
        put(lengthPrefixed: bytes)
    }

    private mutating func put(list: [String]) {
        let told = list.prefix(HostedModel.listItems)
        put(varint: UInt64(told.count))
        for text in told { put(short: text) }
    }

    /// Nil is 0, any number one more than itself.
    private mutating func put(number: Int?) {
        let clamped = number.map { min(UInt64(clamping: $0), UInt64(Int64.max)) }
        put(varint: clamped.map { $0 + 1 } ?? 0)
    }
}

extension ByteReader {
    /// Throws ``RuntimeError`` `.corrupt`.
    package mutating func hostedModel() throws(RuntimeError) -> HostedModel {
        var model = HostedModel(
            name: try shortText(), aliases: try list(), engine: try shortText(), state: try shortText(),
            contextLength: try number(), capabilities: try list())
        switch try byte() {
        case 0: break
        case 1:
            model.file = ModelFile(
                bytes: try number() ?? 0)
            model.file?.digest = try optionalText()
            model.file?.architecture = try optionalText()
            model.file?.parameters = try number()
            model.file?.quantization = try optionalText()
            model.file?.trainedContext = try number()
        default: throw RuntimeError(.corrupt, "a model's file is neither there nor not there")
        }
        return model
    }

    private mutating func shortText() throws(RuntimeError) -> String {
        let bytes = try lengthPrefixed(atMost: HostedModel.textBytes)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw RuntimeError(.corrupt, "a text is not UTF-8")
        }
        return text
    }

    private mutating func optionalText() throws(RuntimeError) -> String? {
        let text = try shortText()
        return text.isEmpty ? nil : text
    }

    private mutating func list() throws(RuntimeError) -> [String] {
        let count = try varint()
        guard count <= UInt64(HostedModel.listItems) else {
            throw RuntimeError(.corrupt, "a list has \(count) texts, more than \(HostedModel.listItems)")
        }
        var list: [String] = []
        for _ in 0..<count { list.append(try shortText()) }
        return list
    }

    private mutating func number() throws(RuntimeError) -> Int? {
        let value = try varint()
        guard value > 0 else { return nil }
        guard let number = Int(exactly: value - 1) else { throw RuntimeError(.corrupt, "a number is too large") }
        return number
    }
}

extension HostedModel {
    fileprivate static let textBytes = 255
    fileprivate static let listItems = 32
}
