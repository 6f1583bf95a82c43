package import Core

/// The header of a GGUF model file, and where its tensors lie: read without trust in any number the file holds.
///
/// Every count and length is checked against the bytes that are left before anything is allocated for it; long arrays
/// (a vocabulary of 150,000 tokens) stay in the file and are decoded when asked for. The bytes stay mapped as long as
/// the value or one of its tensors lives. Another process that shortens a mapped file makes reads past the new end
/// fail with SIGBUS, as for every program that maps files.
package struct GGUFFile: Sendable {
    /// Bounds of what a header may hold.
    package enum Bound {
        package static let metadataKeys = 65_536
        package static let tensors = 65_536
        package static let arrayNesting = 4
        package static let dimensions = 4
        package static let keyBytes = 65_535
        package static let tensorNameBytes = 64
    }

    /// 2 or 3.
    package let version: Int
    package let metadata: [String: GGUFValue]
    /// In the order of the file.
    package let tensors: [GGUFTensor]
    /// Bytes of the whole file.
    package let byteCount: Int

    private let tensorIndexes: [String: Int]
    private let storage: GGUFStorage

    /// Maps a regular file and reads its header.
    ///
    /// - Throws: ``RuntimeError`` `.configuration` when there is no such file or it cannot be a model (a folder, a
    ///   device, a pipe), `.system` when the system refuses, `.corrupt` when its content is wrong. No message holds the
    ///   path.
    package init(path: String) throws(RuntimeError) {
        try self.init(storage: try GGUFStorage(mapping: path))
    }

    /// Reads a model held in memory, for tests and for bytes that came by another way.
    package init(bytes: [UInt8]) throws(RuntimeError) {
        try self.init(storage: GGUFStorage(copying: bytes))
    }

    /// Reads a model embedded in the program. `bytes` stay valid and unchanged as long as the process lives.
    package init(bytes: UnsafeRawBufferPointer) throws(RuntimeError) {
        try self.init(storage: GGUFStorage(static: bytes))
    }

    private init(storage: GGUFStorage) throws(RuntimeError) {
        var parser = GGUFParser(storage)
        let header = try parser.header()
        version = header.version
        metadata = header.metadata
        tensors = header.tensors
        tensorIndexes = header.tensorIndexes
        byteCount = storage.bytes.count
        self.storage = storage
    }

    package func tensor(_ name: String) -> GGUFTensor? { tensorIndexes[name].map { tensors[$0] } }

    /// All bytes of the file, valid within `body`.
    package func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withExtendedLifetime(storage) { () throws(Failure) -> Result in try body(storage.bytes) }
    }
}

extension GGUFFile {
    package func string(_ key: String) -> String? {
        if case .string(let text) = metadata[key] { text } else { nil }
    }

    /// A whole number of any width that fits `Int`.
    package func integer(_ key: String) -> Int? {
        switch metadata[key] {
        case .unsigned(let value): Int(exactly: value)
        case .signed(let value): Int(exactly: value)
        default: nil
        }
    }

    /// A number of any kind.
    package func float(_ key: String) -> Double? {
        switch metadata[key] {
        case .float(let value): value
        case .unsigned(let value): Double(value)
        case .signed(let value): Double(value)
        default: nil
        }
    }

    package func bool(_ key: String) -> Bool? {
        if case .bool(let value) = metadata[key] { value } else { nil }
    }

    package func array(_ key: String) -> GGUFArray? {
        if case .array(let array) = metadata[key] { array } else { nil }
    }

    /// The elements of an array of strings; decodes all of them.
    package func strings(_ key: String) -> [String]? { array(key)?.strings }

    /// The elements of an array of whole numbers that all fit `Int`; decodes all of them.
    package func integers(_ key: String) -> [Int]? { array(key)?.integers }

    /// How many elements an array has, without decoding it: the size of a vocabulary, for example.
    package func count(_ key: String) -> Int? { array(key)?.count }

    /// `general.architecture`: `llama`, `phi3`, …
    package var architecture: String? { string("general.architecture") }

    /// `<architecture>.context_length`: the longest context the model was made for.
    package var contextLength: Int? { architecture.flatMap { integer("\($0).context_length") } }
}
