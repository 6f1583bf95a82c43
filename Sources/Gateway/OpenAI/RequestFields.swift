import Core

/// Reads typed fields of a JSON object. A field that is missing or null gives nil; one of the wrong type or outside
/// its range is refused by its name.
struct RequestFields {
    let json: JSON
    /// Stands before every name in an error: `messages[0].`.
    var path = ""

    func text(_ name: String) throws(RuntimeError) -> String? {
        try read(name, "a string") { $0.string }
    }

    func flag(_ name: String) throws(RuntimeError) -> Bool? {
        try read(name, "true or false") { $0.bool }
    }

    func list(_ name: String) throws(RuntimeError) -> [JSON]? {
        try read(name, "a list") { $0.array }
    }

    func object(_ name: String) throws(RuntimeError) -> JSON.Object? {
        try read(name, "an object") { $0.object }
    }

    func number(_ name: String, in range: ClosedRange<Double>) throws(RuntimeError) -> Double? {
        try read(name, "a number from \(range.lowerBound) to \(range.upperBound)") { value in
            value.number.flatMap { range.contains($0) ? $0 : nil }
        }
    }

    func integer(_ name: String, in range: ClosedRange<Int64>) throws(RuntimeError) -> Int64? {
        var bounds: String {
            range.upperBound == .max
                ? "of at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
        }
        return try read(name, "a whole number \(bounds)") { value in
            value.integer.flatMap { range.contains($0) ? $0 : nil }
        }
    }

    func refusal(_ name: String, _ reason: String) -> RuntimeError {
        RuntimeError(.invalidRequest, "\(path)\(name) \(reason)", parameter: path + name)
    }

    /// - Parameter what: only where the field is refused is it made.
    private func read<Value>(
        _ name: String, _ what: @autoclosure () -> String, _ convert: (JSON) -> Value?
    ) throws(RuntimeError) -> Value? {
        guard let value = json[name] else { return nil }
        guard let converted = convert(value) else { throw refusal(name, "must be \(what())") }
        return converted
    }
}
