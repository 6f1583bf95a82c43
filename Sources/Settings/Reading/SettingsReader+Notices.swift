/// What concerns the sources as a whole.
extension SettingsReader {
    /// A flag that names no key is our own mistake, but one that must not pass unseen.
    mutating func refuseUnknownFlags() {
        let known = Set(Settings.keys.map(\.name))
        for (key, value) in flags.values.sorted(by: { $0.key < $1.key }) where !known.contains(key) {
            problems.append(Problem(source: value.flag, message: "sets \(quoted(key)), which is no key"))
        }
    }

    /// Told, not refused: others set variables with our prefix too (Kubernetes does for a service called igris).
    func unknownVariables() -> [String] {
        let known = Settings.keys.compactMap(\.variable)
        let unknown = surroundings.environment.keys.filter {
            $0.hasPrefix("IGRIS_") && !known.contains($0) && surroundings.variable($0) != nil
        }
        return unknown.sorted().prefix(Problem.mostShown).map { name in
            let near = nearest(to: name, among: known).map { ": did you mean \($0)?" } ?? ""
            return "environment \(quoted(name)) sets no key\(near)"
        }
    }
}
