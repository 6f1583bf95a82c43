import Core

extension Kind where Value == NetworkAddress {
    /// `HOST` or `HOST:PORT`, an IPv6 address in brackets where a port follows.
    static var peerAddress: Kind {
        let words = "HOST or HOST:PORT, the port \(usualPort) where none is given"
        return Kind(words: words, textForm: .text) { node, reading in
            let kind = Kind.peerAddress
            guard let text = reading.text(node, kind) else { return nil }
            guard text.utf8.count <= 300, let address = NetworkAddress(text, defaultPort: usualPort) else {
                return reading.refuse(node, kind, found: quoted(text))
            }
            return address
        } show: {
            .string("\($0)")
        }
    }

    /// As `server.port` has it.
    private static var usualPort: Int { 8_080 }
}

extension Kind where Value == String {
    static var nodeName: Kind { text("1 to 63 bytes of printable text", bytes: 1...63) { $0.trimsToItself } }
}

extension Kind where Value == WorkerWish {
    /// Names of hosts, or how many.
    static var workers: Kind {
        let names = Kind<[String]>.list(of: .nodeName, count: 1...mostWorkers)
        let number = Kind<Int>.integer(1...mostWorkers)
        let words = "a list of 1 to \(mostWorkers) names of hosts, or \(number.words)"
        return Kind(words: words, textForm: .json5) { node, reading in
            if case .number = node.value { return number.read(node, &reading).map { .any($0) } }
            guard case .array = node.value else { return reading.refuse(node, Kind.workers) }
            guard let hosts = names.read(node, &reading) else { return nil }
            guard Set(hosts).count == hosts.count else {
                reading.refuse(node, "names a host twice")
                return nil
            }
            return .named(hosts)
        } show: { wish in
            switch wish {
            case .named(let hosts): names.show(hosts)
            case .any(let count): number.show(count)
            }
        }
    }

    private static var mostWorkers: Int { 32 }
}

extension Kind where Value == Duration {
    /// A whole number and its unit: `30s`, `10m`, `12h`, `7d`.
    static func duration(_ range: ClosedRange<Duration>) -> Kind {
        let words = "a duration from \(shown(range.lowerBound)) to \(shown(range.upperBound)), as 30s, 10m, 12h or 7d"
        return Kind(words: words, textForm: .text) { node, reading in
            let kind = Kind.duration(range)
            guard let text = reading.text(node, kind) else { return nil }
            guard let value = parsed(text), range.contains(value) else {
                return reading.refuse(node, kind, found: quoted(text))
            }
            return value
        } show: {
            .string(shown($0))
        }
    }

    private static var units: [(letter: Character, seconds: Int64)] {
        [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)]
    }

    private static func parsed(_ text: String) -> Duration? {
        guard let unit = units.first(where: { $0.letter == text.last }), text.utf8.count <= 12,
            text.dropLast().utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int64(text.dropLast())
        else { return nil }
        return .seconds(count * unit.seconds)
    }

    /// In the largest unit that needs no fraction.
    private static func shown(_ duration: Duration) -> String {
        let seconds = duration.components.seconds
        let unit = units.first { seconds >= $0.seconds && seconds.isMultiple(of: $0.seconds) }
        return unit.map { "\(seconds / $0.seconds)\($0.letter)" } ?? "\(seconds)s"
    }
}

extension Kind where Value == KeepAlive {
    /// `10m`, `90s`, 0 or `forever`; seconds as a number, below 0 for ever.
    static var keepAlive: Kind {
        let words = "a duration as 10m, 1h30m or 90, 0, or forever (also -1)"
        return Kind(words: words, textForm: .text) { node, reading in
            let kind = Kind.keepAlive
            if case .number(let seconds) = node.value {
                return KeepAlive(seconds: seconds) ?? reading.refuse(node, kind, found: plain(seconds))
            }
            guard let text = reading.text(node, kind) else { return nil }
            return KeepAlive(text) ?? reading.refuse(node, kind, found: quoted(text))
        } show: {
            .string("\($0)")
        }
    }
}

extension Kind {
    /// `off`, or what `kind` takes.
    static func off<Some>(or kind: Kind<Some>) -> Kind where Value == Some? {
        let words = "\"off\" or \(kind.words)"
        return Kind(words: words, textForm: kind.textForm) { node, reading in
            if case .string("off") = node.value { return .some(nil) }
            var other = kind
            other.words = words
            return other.read(node, &reading).map { .some($0) }
        } show: {
            $0.map(kind.show) ?? "off"
        }
    }
}

extension Kind where Value == Int {
    /// Bytes, as a text with its unit: `500MB`, `2GiB`.
    static var size: Kind {
        let words = "a size from 64KiB to 1024TiB, as 500MB or 2GiB"
        return Kind(words: words, textForm: .text) { node, reading in
            let kind = Kind.size
            guard let text = reading.text(node, kind) else { return nil }
            guard let value = bytes(text), (65_536...(1 << 50)).contains(value) else {
                return reading.refuse(node, kind, found: quoted(text))
            }
            return value
        } show: { value in
            let unit = units.first { value >= $0.bytes && value.isMultiple(of: $0.bytes) }
            return .string(unit.map { "\(value / $0.bytes)\($0.name)" } ?? "\(value)B")
        }
    }

    private static var units: [(name: String, bytes: Int)] {
        [
            ("TiB", 1 << 40), ("TB", 1_000_000_000_000), ("GiB", 1 << 30), ("GB", 1_000_000_000), ("MiB", 1 << 20),
            ("MB", 1_000_000), ("KiB", 1 << 10), ("kB", 1_000), ("B", 1),
        ]
    }

    private static func bytes(_ text: String) -> Int? {
        guard let unit = units.first(where: { text.hasSuffix($0.name) }), text.utf8.count <= 24 else { return nil }
        let digits = text.dropLast(unit.name.count)
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int(digits) else { return nil }
        let (value, isTooLarge) = count.multipliedReportingOverflow(by: unit.bytes)
        return isTooLarge ? nil : value
    }
}

extension String {
    /// No space begins or ends it.
    fileprivate var trimsToItself: Bool { first != " " && last != " " }
}
