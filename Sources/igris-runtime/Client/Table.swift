/// Rows of words under one another, for a terminal.
struct Table {
    private let heads: [String]
    private var rows: [[String]] = []

    init(_ heads: String...) { self.init(heads) }
    init(_ heads: [String]) { self.heads = heads }

    /// As many words as there are heads. A missing one is shown as a dash.
    mutating func add(_ words: String?...) { add(words) }
    mutating func add(_ words: [String?]) {
        rows.append(words.map { word in word.flatMap { $0.isEmpty ? nil : $0 } ?? "-" })
    }

    /// Every column as wide as its widest word, the last one as it is. Names of other hosts are in it: what could move
    /// the cursor or change colours is shown as a replacement character.
    var text: String {
        let lines = ([heads] + rows).map { $0.map(\.shownOnTerminal) }
        let widths = heads.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            let padded = zip(line, widths).map { word, width in
                word + String(repeating: " ", count: max(0, width - word.count))
            }
            let text = padded.joined(separator: "  ")
            return String(text.reversed().drop { $0 == " " }.reversed()) + "\n"
        }
        .joined()
    }
}

extension String {
    /// On one line and without effect on a terminal, whoever wrote it.
    var shownOnTerminal: String {
        var view = String.UnicodeScalarView()
        view.append(
            contentsOf: unicodeScalars.map { scalar in
                switch scalar.properties.generalCategory {
                case .control, .lineSeparator, .paragraphSeparator, .format: "\u{FFFD}"
                default: scalar
                }
            })
        return String(view)
    }
}
