import Core

/// What the meaning of a value depends on beside its text: the environment and the folder of the file.
struct Surroundings: Sendable {
    var environment: [String: String]
    /// Absolute; where relative paths begin.
    var folder: String

    /// Nil for an unset variable and for an empty one: what cannot be told apart in most shells' scripts.
    func variable(_ name: String) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// Why a text could not be expanded.
enum ExpansionError: Error, Hashable {
    /// These variables are not set and have no default.
    case unset([String])
    case malformed(String)
}

extension Surroundings {
    /// Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for `${` itself.
    func expand(_ text: String) throws(ExpansionError) -> String {
        guard text.utf8.contains(UInt8(ascii: "$")) else { return text }
        var result = ""
        var unset: [String] = []
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[dollar...]
            if rest.hasPrefix("$${") {
                result += "${"
                rest = rest.dropFirst(3)
            } else if rest.hasPrefix("${") {
                guard let end = rest.firstIndex(of: "}") else { throw .malformed("a reference ${ has no }") }
                let reference = rest[..<end].dropFirst(2)
                rest = rest[end...].dropFirst()
                do throws(ExpansionError) {
                    result += try value(of: reference)
                } catch {
                    guard case .unset(let names) = error else { throw error }
                    unset += names
                }
            } else {
                result += "$"
                rest = rest.dropFirst()
            }
            guard result.utf8.count <= Limits.settingsFileBytes else {
                throw .malformed("the references in it make it longer than \(Limits.settingsFileBytes) bytes")
            }
        }
        guard unset.isEmpty else { throw .unset(unset) }
        return result + rest
    }

    private func value(of reference: Substring) throws(ExpansionError) -> String {
        let nameEnd = reference.firstIndex { !($0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_")) }
        let name = String(reference[..<(nameEnd ?? reference.endIndex)])
        let tail = reference[(nameEnd ?? reference.endIndex)...]
        guard let first = name.first, !first.isNumber, tail.isEmpty || tail.hasPrefix(":-") else {
            throw .malformed("a reference is ${NAME} or ${NAME:-default}; write $${ for the characters themselves")
        }
        if let value = variable(name) { return value }
        guard !tail.isEmpty else { throw .unset([name]) }
        return String(tail.dropFirst(2))
    }

    /// The absolute form of a path. Nil where it begins with `~` and that cannot be resolved.
    func resolve(_ path: String) -> String? {
        if path.hasPrefix("~") {
            guard path == "~" || path.hasPrefix("~/"), let home = variable("HOME"), home.hasPrefix("/") else {
                return nil
            }
            return home + path.dropFirst()
        }
        if path.hasPrefix("/") { return path }
        var relative = path[...]
        while relative.hasPrefix("./") { relative = relative.dropFirst(2) }
        return folder.hasSuffix("/") ? folder + relative : "\(folder)/\(relative)"
    }

    /// Where the relative paths of a file begin.
    func folder(ofFile file: String) -> String {
        guard let path = resolve(file), let slash = path.lastIndex(of: "/") else { return folder }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
