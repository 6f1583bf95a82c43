package import Core

/// What one model of a host is doing.
package struct ModelLoad: Hashable, Sendable {
    package var name: String
    package var waiting: Int
    package var running: Int
    /// Answers that it writes at once; at least 1.
    package var slots: Int
    /// Tokens of a prompt that it reads in a second, as measured there; nil until it has been.
    package var readRate: Double?
    /// Tokens that one answer grows by in a second; nil until it has been measured.
    package var writeRate: Double?

    package init(
        name: String, waiting: Int = 0, running: Int = 0, slots: Int = 1, readRate: Double? = nil,
        writeRate: Double? = nil
    ) {
        self.name = name
        self.waiting = waiting
        self.running = running
        self.slots = slots
        self.readRate = readRate
        self.writeRate = writeRate
    }
}

/// What a host tells its peers of its work, whenever that has changed.
package struct HostLoad: Hashable, Sendable {
    /// Of all its processors, 0 to 1.
    package var processor: Double
    /// Of its memory, 0 to 1.
    package var freeMemory: Double
    /// It takes nothing new.
    package var isDraining: Bool
    /// Of the turns that are given by weight.
    package var weight: Int
    package var models: [ModelLoad]

    package init(
        processor: Double = 0, freeMemory: Double = 1, isDraining: Bool = false, weight: Int = 1,
        models: [ModelLoad] = []
    ) {
        self.processor = processor
        self.freeMemory = freeMemory
        self.isDraining = isDraining
        self.weight = weight
        self.models = models
    }

    /// Above it a host hands over what waits.
    package static let hot = 0.8
    /// Below it a host takes over what waits elsewhere.
    package static let cold = 0.3

    package subscript(model: String) -> ModelLoad? { models.first { $0.name == model } }
}

// MARK: - On the wire

extension HostLoad {
    private static let version: UInt8 = 1
    private static let nameBytes = 255

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.put(Self.version)
        writer.put(Self.byte(ofShare: processor))
        writer.put(Self.byte(ofShare: freeMemory))
        writer.put(isDraining ? 1 : 0)
        writer.put(UInt8(clamping: weight))
        let told = models.filter { $0.name.utf8.count <= Self.nameBytes }.prefix(Limits.memberModels)
        writer.put(varint: UInt64(told.count))
        for model in told {
            writer.put(lengthPrefixed: Array(model.name.utf8))
            writer.put(varint: UInt64(clamping: model.waiting))
            writer.put(varint: UInt64(clamping: model.running))
            writer.put(varint: UInt64(clamping: model.slots))
            writer.put(varint: Self.tenths(ofRate: model.readRate))
            writer.put(varint: Self.tenths(ofRate: model.writeRate))
        }
        return writer.bytes
    }

    /// Throws ``RuntimeError`` `.corrupt`. Nil for a version of the future.
    package static func decode(_ bytes: [UInt8]) throws(RuntimeError) -> HostLoad? {
        var reader = ByteReader(bytes)
        guard try reader.byte() == version else { return nil }
        var load = HostLoad(
            processor: Double(try reader.byte()) / 255, freeMemory: Double(try reader.byte()) / 255,
            isDraining: try reader.byte() == 1, weight: Int(try reader.byte()))
        let count = try reader.varint()
        guard count <= UInt64(Limits.memberModels) else {
            throw RuntimeError(.corrupt, "a host tells of \(count) models, more than \(Limits.memberModels)")
        }
        for _ in 0..<count {
            let name = try reader.lengthPrefixed(atMost: nameBytes)
            guard let name = String(validating: name, as: UTF8.self) else {
                throw RuntimeError(.corrupt, "a model's name is not UTF-8")
            }
            load.models.append(
                ModelLoad(
                    name: name, waiting: try Self.count(&reader), running: try Self.count(&reader),
                    slots: max(1, try Self.count(&reader)), readRate: try Self.rate(&reader),
                    writeRate: try Self.rate(&reader)))
        }
        try reader.expectEnd()
        return load
    }

    private static func byte(ofShare share: Double) -> UInt8 {
        share.isFinite ? UInt8((min(1, max(0, share)) * 255).rounded()) : 0
    }

    private static func tenths(ofRate rate: Double?) -> UInt64 {
        guard let rate, rate.isFinite, rate > 0 else { return 0 }
        return UInt64(min(rate * 10, 1e12).rounded(.up))
    }

    private static func rate(_ reader: inout ByteReader) throws(RuntimeError) -> Double? {
        let tenths = try reader.varint()
        return tenths > 0 ? Double(min(tenths, 1_000_000_000_000)) / 10 : nil
    }

    /// What nobody has is not believed: sums of it stay within bounds.
    private static func count(_ reader: inout ByteReader) throws(RuntimeError) -> Int {
        Int(min(try reader.varint(), 1_000_000))
    }
}
