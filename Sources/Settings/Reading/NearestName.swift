/// The name that was probably meant: at most a third of it mistyped. Nil where none is near.
func nearest(to name: String, among names: [String]) -> String? {
    // What nobody types by mistake is not compared: the cost grows with the product of the lengths.
    guard name.utf8.count <= 64 else { return nil }
    let typed = letters(of: name)
    guard !typed.isEmpty else { return nil }
    var best: (name: String, distance: Int)?
    for candidate in names {
        let letters = letters(of: candidate)
        let distance = distance(typed, letters)
        guard distance <= max(1, min(3, letters.count / 3)), distance < letters.count else { continue }
        if best.map({ distance < $0.distance }) ?? true { best = (candidate, distance) }
    }
    return best?.name
}

/// `encryptionKey` and `encryption-key` are `encryption_key`, differently spelled.
private func letters(of name: String) -> [UInt8] {
    name.lowercased().utf8.filter { $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: "-") }
}

/// Insertions, deletions, replacements and swaps of neighbours (Damerau 1964, optimal string alignment).
private func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var before: [Int] = []
    var above = Array(0...right.count)
    for (row, a) in left.enumerated() {
        var current = [row + 1]
        for (column, b) in right.enumerated() {
            var best = min(above[column + 1], current[column]) + 1
            best = min(best, above[column] + (a == b ? 0 : 1))
            if row > 0, column > 0, a == right[column - 1], left[row - 1] == b {
                best = min(best, before[column - 1] + 1)
            }
            current.append(best)
        }
        before = above
        above = current
    }
    return above[right.count]
}

/// A text of the user's in quotes, for a message: short, on one line.
func quoted(_ text: String) -> String {
    let limit = 60
    var shown = ""
    for scalar in text.unicodeScalars.prefix(limit) {
        let isControl = scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value)
        shown.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
    }
    return "\"\(shown)\(text.unicodeScalars.count > limit ? "…" : "")\""
}
