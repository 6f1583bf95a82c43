import Core
import Glibc
import Testing

/// The kept corpora and found cases, run once more without libFuzzer: each input that ever broke something stays mended.
@Suite(.serialized) struct ReplayTests {
    @Test(arguments: FuzzTarget.allCases) func `What is kept breaks nothing`(target: FuzzTarget) throws {
        let cases = try Self.cases(of: target)
        #expect(cases.count >= 3, "no corpus of \(target.rawValue)")
        for (name, bytes) in cases {
            do {
                try target.run(bytes)
            } catch {
                Issue.record("\(target.rawValue)/\(name): \(error)")
            }
        }
    }

    @Test(arguments: FuzzTarget.allCases) func `What is kept, damaged a little, breaks nothing`(target: FuzzTarget)
        throws
    {
        var random = SplitMix(state: 1)
        for (name, bytes) in try Self.cases(of: target) {
            for _ in 0..<20 {
                let damaged = random.damage(bytes)
                do {
                    try target.run(damaged)
                } catch {
                    Issue.record("\(target.rawValue), from \(name): \(error); \(damaged.hex)")
                }
            }
        }
    }

    /// The same inputs for every run: a failure is not lost with its process.
    private struct SplitMix: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
            return z ^ z >> 31
        }

        mutating func damage(_ bytes: [UInt8]) -> [UInt8] {
            var bytes = bytes
            for _ in 0..<Int.random(in: 1...3, using: &self) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &self)
                switch Int.random(in: 0..<4, using: &self) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &self)
                case 1: bytes.insert(UInt8.random(in: 0...255, using: &self), at: place)
                case 2: bytes.remove(at: place)
                default: bytes.removeLast(Int.random(in: 0..<bytes.count, using: &self))
                }
            }
            return bytes
        }
    }

    private static func cases(of target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let folder = "\(root)/Tests/Fixtures/fuzz/\(target.rawValue)"
        let stream = try #require(opendir(folder), "\(folder) is not there")
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return try names.sorted().map { ($0, try read("\(folder)/\($0)")) }
    }

    private static func read(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer.prefix(count) }
        return bytes
    }
}
