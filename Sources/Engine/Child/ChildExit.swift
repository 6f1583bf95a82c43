/// How a child ended.
enum ChildExit: Hashable, Sendable, CustomStringConvertible {
    case exited(Int)
    case signalled(Int)

    var description: String {
        switch self {
        case .exited(let status): "it ended with status \(status)"
        case .signalled(let signal): "it was ended by signal \(signal)"
        }
    }
}

enum ChildSignal: Sendable {
    case interrupt
    case kill
}
