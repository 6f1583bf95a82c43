// swift-tools-version: 6.2
import PackageDescription

/// `make fuzz` (docs/fuzzing.md) builds our rooms once more, in a folder of their own, so that libFuzzer sees their ways.
let fuzzes = Context.environment["IGRIS_FUZZ"] != nil
let instrumented = ["-sanitize=fuzzer,address"]

/// Language mode 6 with the features of the next one; a warning in our code is an error.
let strict: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
        .treatAllWarnings(as: .error),
    ] + (fuzzes ? [.unsafeFlags(["-O"] + instrumented)] : [])

let log = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let metricsCore = Target.Dependency.product(name: "CoreMetrics", package: "swift-metrics")
let signals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

/// Modules of SwiftNIO.
func nio(_ modules: String...) -> [Target.Dependency] {
    modules.map { .product(name: $0, package: "swift-nio") }
}

/// Also in debug builds: unoptimised, the tests of these rooms would take many minutes.
let optimised: [SwiftSetting] = [.unsafeFlags(["-O"], .when(configuration: .debug))]

/// One room of the house (docs/architecture.md): its targets may import only what is listed here.
func room(_ name: String, _ dependencies: [Target.Dependency], settings: [SwiftSetting] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict + settings)
}

func tests(of name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: [.target(name: name)] + dependencies,
        swiftSettings: strict)
}

let package = Package(
    name: "igris-runtime",
    products: [.executable(name: "igris-runtime", targets: ["igris-runtime"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: [
        // Cellar: C libraries and embedded files.
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CDNSSD", providers: [.apt(["libavahi-compat-libdnssd-dev"])]),
        .systemLibrary(name: "CCompression"),
        .systemLibrary(name: "CLinux"),
        .target(name: "CRecallModel", cSettings: [.unsafeFlags(["-std=c23"])]),
        .target(name: "CDocuments", cSettings: [.unsafeFlags(["-std=c23"])]),

        // Ground.
        room("Core", []),
        room("Cryptography", ["COpenSSL"]),
        room("GGUF", ["Core"]),

        // Side rooms: disk, processes, files; blind to one another.
        room("Store", ["Core", "Cryptography", "CSQLite"]),
        room(
            "Engine",
            [
                "Core", "GGUF",
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                log,
            ] + nio("NIOCore", "NIOHTTP1", "NIOPosix")),
        room(
            "BuiltinModel", ["Core", "GGUF", "CRecallModel"],
            settings: optimised),
        room(
            "Peering",
            [
                "Core", "Cryptography", "CDNSSD",
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                log, metrics,
            ] + nio("NIOCore", "NIOHTTP1", "NIOPosix", "NIOTLS", "NIOWebSocket")),
        room("Settings", ["Core"]),
        room("Telemetry", ["Core", log, metrics, metricsCore]),

        // First floor: pure decisions.
        room("Swarm", ["Core", "Cryptography"], settings: optimised),
        room("Guardian", ["Core", "Cryptography"]),

        // Beside the house: the world that the machines are tried in (docs/simulation.md).
        room("Simulation", ["Core", "Cryptography", "Swarm"], settings: optimised),
        .executableTarget(
            name: "swarm-simulator", dependencies: ["Core", "Simulation"], swiftSettings: strict),

        // Second floor: the actors.
        room("Node", ["Core", "Cryptography", "Swarm", "Guardian", lifecycle, log, metrics]),

        // Roof.
        room(
            "Gateway",
            [
                "CDocuments", "CCompression", "Core", "Node", "Guardian",
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                lifecycle, log, metrics,
            ] + nio("NIOCore", "NIOHTTP1", "NIOPosix", "NIOWebSocket")),

        .executableTarget(
            name: "igris-runtime",
            dependencies: [
                "CLinux", "Core", "Cryptography", "GGUF", "Store", "Engine", "BuiltinModel", "Settings", "Telemetry",
                "Swarm", "Guardian", "Node", "Gateway", "Peering",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
                lifecycle, log, metrics, signals,
            ] + nio("NIOCore", "NIOHTTP1", "NIOPosix"),
            swiftSettings: strict,
            linkerSettings: [
                // Nothing looks a symbol of the program up by its name: a table of them all would be two megabytes.
                .unsafeFlags(["-Xlinker", "--no-export-dynamic"], .when(configuration: .release))
            ]),

        .executableTarget(
            name: "append-benchmark", dependencies: ["Core", "Cryptography", "Node", "Store", "Swarm"],
            path: "Benchmarks/Append", swiftSettings: strict),
        .executableTarget(
            name: "discovery-benchmark", dependencies: ["Core", "Cryptography", "Peering"],
            path: "Benchmarks/Discovery", swiftSettings: strict),
        .executableTarget(
            name: "routing-benchmark", dependencies: ["Core", "Swarm"], path: "Benchmarks/Routing",
            swiftSettings: strict),
        .executableTarget(
            name: "store-benchmark", dependencies: ["Core", "Cryptography", "Store", "Swarm"],
            path: "Benchmarks/Store", swiftSettings: strict),

        .executableTarget(
            name: "link-benchmark",
            dependencies: [
                "Core", "Cryptography", "Peering",
            ] + nio("NIOCore", "NIOHTTP1", "NIOPosix", "NIOWebSocket"),
            path: "Benchmarks/Links", swiftSettings: strict),

        tests(of: "Core"),
        tests(of: "Cryptography"),
        tests(of: "GGUF", ["Core"]),
        // A disk that fails, for the tests of the store alone.
        .target(name: "CFaultyDisk", path: "Tests/CFaultyDisk", cSettings: [.unsafeFlags(["-std=c23"])]),
        tests(of: "Store", ["CFaultyDisk", "Core", "Cryptography"]),
        tests(of: "Engine", ["Core", log] + nio("NIOCore", "NIOPosix")),
        tests(of: "BuiltinModel", ["Core"]),
        tests(
            of: "Peering",
            [
                "Core", "Cryptography", log,
            ] + nio("NIOCore", "NIOEmbedded", "NIOPosix", "NIOWebSocket")),
        tests(of: "Settings", ["Core"]),
        tests(of: "Telemetry", ["Core", log, metricsCore]),
        tests(of: "Swarm", ["Core", "Cryptography", "Simulation"]),
        tests(of: "Simulation", ["Core", "Swarm"]),
        tests(of: "Guardian", ["Core"]),
        tests(of: "Node", ["Core", "Swarm", "Store", "Cryptography", log]),
        tests(
            of: "Gateway",
            [
                "Core", "Cryptography", "Node", "Guardian", "Peering",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                lifecycle, log,
            ] + nio("NIOCore", "NIOPosix")),
    ]
)

/// The twelve inputs from outside that our code reads. As tests they replay what is kept in Tests/Fixtures/fuzz.
let fuzzed: [Target.Dependency] =
    [
        "Core", "Cryptography", "Engine", "GGUF", "Gateway", "Guardian", "Peering", "Settings", "Store", "Swarm",
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        log,
    ] + nio("NIOCore", "NIOEmbedded", "NIOWebSocket")
if fuzzes {
    package.targets.removeAll { $0.type == .test }
    package.targets.append(
        .executableTarget(
            name: "fuzz", dependencies: fuzzed, path: "Tests/FuzzTests", exclude: ["ReplayTests.swift"],
            swiftSettings: strict + [.unsafeFlags(["-parse-as-library", "-enable-testing"])],
            linkerSettings: [.unsafeFlags(instrumented + ["-use-ld=lld"])]))
} else {
    package.targets.append(
        .testTarget(
            name: "FuzzTests", dependencies: fuzzed, exclude: ["LibFuzzer.swift"], swiftSettings: strict))
}
